"""MP4 files of one still image, written without any library.

All frames are the same PNG, stored once (ISO/IEC 14496-12), so a video of any length and size is instant. FFmpeg and
software built on it can read it; browsers cannot, as they need H.264.
"""

import struct

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
"""The identity: no rotation, no scaling."""


def still_mp4(image: bytes, width: int, height: int, frames: int, fps: int, comment: bytes) -> bytes:
    """Writes the video.

    Args:
        image: A PNG of the video's size.
        width: Pixels.
        height: Pixels.
        frames: Number of frames.
        fps: Frames per second.
        comment: Stored in the file; players ignore it.
    """
    head = _box(b"ftyp", b"isom\0\0\2\0isommp41") + _box(b"free", comment)
    start = len(head) + 8
    return head + _box(b"mdat", image) + _moov(start, len(image), width, height, frames, fps)


def _moov(offset: int, size: int, width: int, height: int, frames: int, fps: int) -> bytes:
    entry = struct.pack(">6xH16xHHIIIH32sHh", 1, width, height, 72 << 16, 72 << 16, 0, 1, b"", 24, -1)
    tables = (
        _full(b"stsd", struct.pack(">I", 1) + _box(b"png ", entry)),
        _full(b"stts", struct.pack(">III", 1, frames, 1)),
        _full(b"stsc", struct.pack(">IIII", 1, 1, 1, 1)),
        _full(b"stsz", struct.pack(">II", size, frames)),
        _full(b"stco", struct.pack(">I", frames) + struct.pack(">I", offset) * frames),
    )
    where = _box(b"dinf", _full(b"dref", struct.pack(">I", 1) + _full(b"url ", b"", flags=1)))
    media = _box(b"minf", _full(b"vmhd", bytes(8), flags=1) + where + _box(b"stbl", b"".join(tables)))
    times = struct.pack(">IIII", 0, 0, fps, frames)
    track = struct.pack(">IIIII8xhhhh", 0, 0, 1, 0, frames, 0, 0, 0, 0) + _MATRIX
    handler = _full(b"hdlr", b"\0\0\0\0vide" + bytes(13))
    header = times + struct.pack(">IH10x", 0x10000, 0x100) + _MATRIX + bytes(24) + struct.pack(">I", 2)
    return _box(
        b"moov",
        _full(b"mvhd", header)
        + _box(
            b"trak",
            _full(b"tkhd", track + struct.pack(">II", width << 16, height << 16), flags=3)
            + _box(b"mdia", _full(b"mdhd", times + struct.pack(">HH", 0x55C4, 0)) + handler + media),
        ),
    )


def _box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + name + data


def _full(name: bytes, data: bytes, flags: int = 0) -> bytes:
    return _box(name, struct.pack(">I", flags) + data)
