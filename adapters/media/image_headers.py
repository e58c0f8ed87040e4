"""What a picture says of itself by its first bytes, and whether such pictures are accepted; nothing is decoded.

A picture of a few kilobytes can claim gigabytes of pixels, hide thousands of frames, or carry hundreds of progressive
scans. So format, size and frames are read here, by plain code and against a short list, before any decoder sees it.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from adapters.base import Media
from adapters.errors import InvalidMedia

MAX_BYTES = 50 * 1024 * 1024
"""Of one encoded picture, as OpenAI's image routes allow."""
MAX_PIXELS = 64_000_000
"""Of one picture: 8000 x 8000, 192 MB as RGB. Below the size at which Pillow warns."""
MAX_SCANS = 100
"""Of one JPEG. A camera writes 1, progressive encoders about 10; each is a pass over all pixels."""
MAX_PARTS = 65_536
"""Chunks of a PNG, segments of a JPEG: cameras write dozens, but a file has room for millions of empty ones."""

ADVICE = "Send a PNG, JPEG or WebP picture."


class Header(NamedTuple):
    """What a picture says of itself."""

    format: Literal["PNG", "JPEG", "WEBP"]
    width: int
    height: int
    animated: bool = False


def check_image(media: Media, *, param: str = "image") -> None:
    """Refuses what `images.open_image` refuses by a picture's first bytes, as it does; nothing is decoded."""
    with refusing(param):
        accepted(read(media, MAX_BYTES), MAX_PIXELS)


@contextmanager
def refusing(param: str) -> Iterator[None]:
    """Makes `InvalidMedia` of whatever damaged bytes make the decoders raise."""
    try:
        yield
    except InvalidMedia as error:
        error.param = param
        raise
    # What Pillow's three plugins raise on mutated files, by fuzzing; OSError covers zlib's and the codecs' complaints.
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, ArithmeticError, struct.error) as error:
        raise InvalidMedia("The picture is damaged or incomplete.", param=param) from error
    except MemoryError as error:
        raise InvalidMedia("The picture is too large to be decoded.", param=param) from error


def read(media: Media, limit: int) -> bytes:
    """The encoded bytes, no more than `limit`."""
    if media.path:
        with open(media.path, "rb") as file:
            if os.fstat(file.fileno()).st_size > limit:
                raise InvalidMedia(f"The picture's file is larger than {limit:,} bytes.")
            return file.read(limit)
    if len(media.data) > limit:
        raise InvalidMedia(f"The picture's file is larger than {limit:,} bytes.")
    return media.data


def accepted(data: bytes, max_pixels: int) -> Header:
    """What a picture says of itself, if such pictures are accepted."""
    header = _header(data)
    if header.animated:
        raise InvalidMedia("The picture is an animation. Send a single picture.")
    if not 0 < header.width * header.height <= max_pixels:
        raise InvalidMedia(
            f"The picture has {header.width} x {header.height} pixels; at most {max_pixels:,} in all are accepted."
        )
    return header


def _header(data: bytes) -> Header:
    """Format and size, from the bytes alone; nothing is allocated by what they claim."""
    if not data:
        raise InvalidMedia(f"The picture is empty. {ADVICE}")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_header(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_header(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_header(data)
    raise InvalidMedia(f"The file is not a PNG, JPEG or WebP picture. {ADVICE}")


def _png_header(data: bytes) -> Header:
    """PNG, third edition: IHDR comes first; a chunk acTL makes an APNG of it."""
    if data[12:16] != b"IHDR":
        raise InvalidMedia("The picture is damaged: a PNG must begin with its size.")
    width, height = struct.unpack_from(">II", data, 16)
    at, animated = 8, False
    for _ in range(MAX_PARTS):
        if at + 8 > len(data) or (name := data[at + 4 : at + 8]) == b"IEND":
            return Header("PNG", width, height, animated)
        animated |= name == b"acTL"
        at += 12 + struct.unpack_from(">I", data, at)[0]
    raise InvalidMedia(f"The picture has more than {MAX_PARTS:,} chunks.")


def _jpeg_header(data: bytes) -> Header:
    """ITU T.81, annex B: segments of a marker and a length; the frame header SOFn, before the scans, has the size."""
    # 0xFF within coded pixels is followed by zero, so that this finds scans, and at worst those of a thumbnail too.
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise InvalidMedia(f"The picture has more than {MAX_SCANS} progressive scans.")
    at, header = 2, None
    for _ in range(MAX_PARTS):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == 0xFFFF:  # Fill bytes may precede a marker.
            at += 1
            continue
        if marker == 0xFFDA and header is not None:
            return header
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            header = header or Header("JPEG", width, height)
        if not 0xFFC0 <= marker <= 0xFFFE or length < 2 or marker == 0xFFDA:
            raise InvalidMedia("The picture is damaged: a JPEG must give its size before its pixels.")
        at += 2 + length
    raise InvalidMedia(f"The picture has more than {MAX_PARTS:,} segments.")


def _webp_header(data: bytes) -> Header:
    """RFC 9649: the first chunk is VP8 (lossy), VP8L (lossless) or VP8X (extended, perhaps animated)."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("WEBP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("WEBP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X" and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return Header("WEBP", width, height, animated=bool(data[20] & 0x02))
    raise InvalidMedia("The picture is damaged: a WebP must begin with its size.")
