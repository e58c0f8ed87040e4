"""Untrusted bytes to pixels, and pixels to bytes: the only decoder of uploaded pictures.

A picture of a few kilobytes can claim gigabytes of pixels, hide thousands of frames, or carry hundreds of progressive
scans. So format, size and frames are read here from the first bytes, against a short list, before Pillow sees any of
it; Pillow may then use no other format, and must find the same size. Nothing here knows a model.
"""

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from PIL import Image, UnidentifiedImageError

from adapters.base import Media
from adapters.errors import InvalidMedia

ImageType = Literal["image/png", "image/jpeg", "image/webp"]

MAX_BYTES = 50 * 1024 * 1024
"""Of one encoded picture, as OpenAI's image routes allow."""
MAX_PIXELS = 64_000_000
"""Of one picture: 8000 x 8000, 192 MB as RGB. Below the size at which Pillow warns."""
MAX_SCANS = 100
"""Of one JPEG. A camera writes 1, progressive encoders about 10; each is a pass over all pixels."""
MAX_PARTS = 65_536
"""Chunks of a PNG, segments of a JPEG: cameras write dozens, but a file has room for millions of empty ones."""

_ADVICE = "Send a PNG, JPEG or WebP picture."

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each value of EXIF's Orientation (Exif 2.32, tag 0x0112)."""


class _Header(NamedTuple):
    """What a picture says of itself."""

    format: Literal["PNG", "JPEG", "WEBP"]
    width: int
    height: int
    animated: bool = False


def open_image(
    media: Media, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES, param: str = "image"
) -> Image.Image:
    """The picture, decoded and upright.

    Args:
        media: PNG, JPEG or WebP. Its claimed media type is not believed.
        max_pixels: The most pixels that are accepted; checked before any is decoded.
        max_bytes: The largest encoded size that is accepted.
        param: The request's field that `InvalidMedia` names.

    Returns:
        A picture in memory, turned as its EXIF orientation asks, without metadata, in the mode of its file;
        `to_rgb` makes it plain.

    Raises:
        InvalidMedia: No picture, not one of the three formats, animated, damaged, or too large.
    """
    with _refusing(param):
        data = _read(media, max_bytes)
        header = _accepted(data, max_pixels)
        with Image.open(io.BytesIO(data), formats=(header.format,)) as image:
            if image.size != (header.width, header.height):
                raise InvalidMedia("The picture is damaged: it contradicts itself about its size.")
            image.load()
            upright = image.transpose(_UPRIGHT[turn]) if (turn := _orientation(image)) in _UPRIGHT else image.copy()
        upright.info = {key: value for key, value in upright.info.items() if key == "transparency"}
        return upright


def check_image(media: Media, *, param: str = "image") -> None:
    """Refuses what `open_image` refuses by a picture's first bytes, as it does; nothing is decoded."""
    with _refusing(param):
        _accepted(_read(media, MAX_BYTES), MAX_PIXELS)


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture as 8-bit RGB: 16-bit grey is scaled, and what is transparent becomes white."""
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow would clip at 255 instead of scaling.
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def encode_image(image: Image.Image, media_type: ImageType, quality: int | None = None) -> Media:
    """The picture as a file. The same pixels give the same bytes.

    Args:
        image: Of any mode; JPEG holds no transparency, so there it becomes white.
        media_type: PNG is lossless.
        quality: 0..100 of JPEG and WebP; None: 95 and 90.

    Raises:
        ValueError: Another media type.
    """
    out = io.BytesIO()
    if media_type == "image/png":
        image.save(out, "PNG")
    elif media_type == "image/jpeg":
        to_rgb(image).save(out, "JPEG", quality=95 if quality is None else max(1, quality))
    elif media_type == "image/webp":
        image.save(out, "WEBP", quality=90 if quality is None else quality)
    else:
        raise ValueError(media_type)
    return Media(media_type, out.getvalue())


@contextmanager
def _refusing(param: str) -> Iterator[None]:
    """Makes `InvalidMedia` of whatever damaged bytes make the decoders raise."""
    try:
        yield
    except InvalidMedia as error:
        error.param = param
        raise
    except UnidentifiedImageError as error:
        raise InvalidMedia(f"The file is not a picture that can be read. {_ADVICE}", param=param) from error
    # What Pillow's three plugins raise on mutated files, by fuzzing; OSError covers zlib's and the codecs' complaints.
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, ArithmeticError, struct.error) as error:
        raise InvalidMedia("The picture is damaged or incomplete.", param=param) from error
    except (MemoryError, Image.DecompressionBombError) as error:
        raise InvalidMedia("The picture is too large to be decoded.", param=param) from error


def _read(media: Media, limit: int) -> bytes:
    """The encoded bytes, no more than `limit`."""
    if media.path:
        with open(media.path, "rb") as file:
            if os.fstat(file.fileno()).st_size > limit:
                raise InvalidMedia(f"The picture's file is larger than {limit:,} bytes.")
            return file.read(limit)
    if len(media.data) > limit:
        raise InvalidMedia(f"The picture's file is larger than {limit:,} bytes.")
    return media.data


def _accepted(data: bytes, max_pixels: int) -> _Header:
    """What a picture says of itself, if such pictures are accepted."""
    header = _header(data)
    if header.animated:
        raise InvalidMedia("The picture is an animation. Send a single picture.")
    if not 0 < header.width * header.height <= max_pixels:
        raise InvalidMedia(
            f"The picture has {header.width} x {header.height} pixels; at most {max_pixels:,} in all are accepted."
        )
    return header


def _header(data: bytes) -> _Header:
    """Format and size, from the bytes alone; nothing is allocated by what they claim."""
    if not data:
        raise InvalidMedia(f"The picture is empty. {_ADVICE}")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_header(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_header(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_header(data)
    raise InvalidMedia(f"The file is not a PNG, JPEG or WebP picture. {_ADVICE}")


def _png_header(data: bytes) -> _Header:
    """PNG, third edition: IHDR comes first; a chunk acTL makes an APNG of it."""
    if data[12:16] != b"IHDR":
        raise InvalidMedia("The picture is damaged: a PNG must begin with its size.")
    width, height = struct.unpack_from(">II", data, 16)
    at, animated = 8, False
    for _ in range(MAX_PARTS):
        if at + 8 > len(data) or (name := data[at + 4 : at + 8]) == b"IEND":
            return _Header("PNG", width, height, animated)
        animated |= name == b"acTL"
        at += 12 + struct.unpack_from(">I", data, at)[0]
    raise InvalidMedia(f"The picture has more than {MAX_PARTS:,} chunks.")


def _jpeg_header(data: bytes) -> _Header:
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
            header = header or _Header("JPEG", width, height)
        if not 0xFFC0 <= marker <= 0xFFFE or length < 2 or marker == 0xFFDA:
            raise InvalidMedia("The picture is damaged: a JPEG must give its size before its pixels.")
        at += 2 + length
    raise InvalidMedia(f"The picture has more than {MAX_PARTS:,} segments.")


def _webp_header(data: bytes) -> _Header:
    """RFC 9649: the first chunk is VP8 (lossy), VP8L (lossless) or VP8X (extended, perhaps animated)."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return _Header("WEBP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return _Header("WEBP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X" and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return _Header("WEBP", width, height, animated=bool(data[20] & 0x02))
    raise InvalidMedia("The picture is damaged: a WebP must begin with its size.")


def _orientation(image: Image.Image) -> int:
    """EXIF's Orientation; 1, upright, where the picture has none or where it cannot be read."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, struct.error):
        return 1  # Broken metadata are no reason to refuse good pixels.
