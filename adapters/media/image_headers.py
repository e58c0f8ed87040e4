"""Format and size of an image from its header, checked before anything is decoded.

An image of a few kilobytes can claim gigabytes of pixels, or contain thousands of frames or hundreds of progressive
scans. So format, size and frames are checked here, by simple code and against a short list, before a decoder runs.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from adapters.base import Media
from adapters.errors import InvalidMedia

MAX_BYTES = 50 * 1024 * 1024
"""Maximum size of an encoded image; the limit of OpenAI's image routes."""
MAX_PIXELS = 64_000_000
"""Maximum size of an image: 8000 x 8000, 192 MB as RGB. Below the size at which Pillow warns."""
MAX_SCANS = 100
"""Of a JPEG. Cameras write 1, progressive encoders about 10; each one decodes all pixels once."""
MAX_SEGMENTS = 65_536
"""Of a JPEG; chunks of a PNG. Cameras write dozens, but a file could contain millions of empty ones."""

ADVICE = "Send a PNG, JPEG, WebP, GIF or BMP image."


class Header(NamedTuple):
    """What an image's header claims."""

    format: Literal["PNG", "JPEG", "WEBP", "GIF", "BMP"]
    width: int
    height: int
    animated: bool = False


def check_image(media: Media, *, param: str = "image") -> None:
    """Checks an image's header as `decode_image.open_image` does, without decoding the image.

    Raises:
        InvalidMedia: The format is not supported, or the image is animated, damaged or too large.
    """
    with decode_errors(param):
        read_header(read_bytes(media, MAX_BYTES), MAX_PIXELS)


def pixels_of(media: Media, *, param: str = "image") -> int:
    """The number of pixels that an image's header claims. Raises as `check_image`."""
    with decode_errors(param):
        header = read_header(read_bytes(media, MAX_BYTES), MAX_PIXELS)
    return header.width * header.height


@contextmanager
def decode_errors(param: str) -> Iterator[None]:
    """Turns everything that decoders raise for damaged files into `InvalidMedia`."""
    try:
        yield
    except InvalidMedia as error:
        error.param = param
        raise
    # What Pillow's three plugins raise on mutated files, found by fuzzing; OSError includes zlib's and the codecs'.
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, ArithmeticError, struct.error) as error:
        raise InvalidMedia(f"The image is damaged or incomplete. {ADVICE}", param=param) from error
    except MemoryError as error:
        raise InvalidMedia("The image is too large to be decoded. Send a smaller one.", param=param) from error


def read_bytes(media: Media, limit: int) -> bytes:
    """The encoded bytes, at most `limit`."""
    if media.path:
        with open(media.path, "rb") as file:
            if os.fstat(file.fileno()).st_size > limit:
                raise InvalidMedia(f"The image file is larger than {limit:,} bytes. Send a smaller one.")
            return file.read(limit)
    if len(media.data) > limit:
        raise InvalidMedia(f"The image file is larger than {limit:,} bytes. Send a smaller one.")
    return media.data


def read_header(data: bytes, max_pixels: int) -> Header:
    """The image's header; raises `InvalidMedia` if the image is animated or too large."""
    header = _header(data)
    if header.animated:
        raise InvalidMedia("The image is animated. Send a still image.")
    if not 0 < header.width * header.height <= max_pixels:
        raise InvalidMedia(
            f"The image has {header.width} x {header.height} pixels; at most {max_pixels:,} in total are accepted."
        )
    return header


def _header(data: bytes) -> Header:
    """Format and size. Nothing is allocated based on what the header claims."""
    if not data:
        raise InvalidMedia(f"The image is empty. {ADVICE}")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_header(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_header(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_header(data)
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return _gif_header(data)
    if data[:2] == b"BM":
        return _bmp_header(data)
    raise InvalidMedia(f"The file is not an image in a supported format. {ADVICE}")


def _png_header(data: bytes) -> Header:
    """PNG, third edition: IHDR comes first; a chunk acTL marks an APNG and tells its frames."""
    if data[12:16] != b"IHDR":
        raise InvalidMedia("The image is damaged: the PNG does not start with an IHDR chunk.")
    width, height = struct.unpack_from(">II", data, 16)
    at, animated = 8, False
    for _ in range(MAX_SEGMENTS):
        if at + 8 > len(data) or (name := data[at + 4 : at + 8]) == b"IEND":
            return Header("PNG", width, height, animated)
        animated |= name == b"acTL" and data[at + 8 : at + 12] != b"\0\0\0\1"
        at += 12 + struct.unpack_from(">I", data, at)[0]
    raise InvalidMedia(f"The image has more than {MAX_SEGMENTS:,} PNG chunks. Save it again without them.")


def _jpeg_header(data: bytes) -> Header:
    """ITU T.81, annex B: segments of a marker and a length; the frame header SOFn, before the scans, has the size."""
    # 0xFF within coded pixels is followed by zero, so this counts scans only, at worst those of a thumbnail, too.
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise InvalidMedia(f"The image has more than {MAX_SCANS} progressive scans. Save it as a baseline JPEG.")
    at, header = 2, None
    for _ in range(MAX_SEGMENTS):
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
            raise InvalidMedia("The image is damaged: the JPEG has no frame header before its pixels.")
        at += 2 + length
    raise InvalidMedia(f"The image has more than {MAX_SEGMENTS:,} JPEG segments. Save it again without them.")


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
    raise InvalidMedia("The image is damaged: the WebP does not start with a VP8, VP8L or VP8X chunk.")


def _gif_header(data: bytes) -> Header:
    """GIF89a: blocks of extensions and images after the global colour table; more than one image is an animation."""
    width, height = struct.unpack_from("<HH", data, 6)
    at, images = 13 + _colours(data[10]), 0
    for _ in range(MAX_SEGMENTS):
        kind = data[at : at + 1]
        if kind == b",":
            images += 1
            left, top, wide, high = struct.unpack_from("<HHHH", data, at + 1)
            width, height = max(width, left + wide), max(height, top + high)
            at = _after_blocks(data, at + 11 + _colours(data[at + 9]))
        elif kind == b"!":
            at = _after_blocks(data, at + 2)
        else:  # the trailer, or the end of a file that was cut off
            return Header("GIF", width, height, animated=images > 1)
        if images > 1:
            return Header("GIF", width, height, animated=True)
    raise InvalidMedia(f"The image has more than {MAX_SEGMENTS:,} GIF blocks. Save it again without them.")


def _colours(flags: int) -> int:
    """Bytes of the colour table that flags announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Where a sequence of sub-blocks ends. Each has at least two bytes, so the loop ends with the data."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _bmp_header(data: bytes) -> Header:
    """BITMAPINFOHEADER and its successors; a negative height means that rows run from top to bottom."""
    if struct.unpack_from("<I", data, 14)[0] < 40:
        raise InvalidMedia(f"The image is a BMP of an old version. {ADVICE}")
    width, height = struct.unpack_from("<ii", data, 18)
    return Header("BMP", width, abs(height))
