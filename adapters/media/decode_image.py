"""Untrusted bytes to pixels, and pixels to bytes: the only decoder of uploaded images.

`image_headers` reads format, size and frames first; Pillow may then use no other format, and must find the same size.
Nothing here depends on a model.
"""

import io
import struct
from typing import Literal

from PIL import Image, UnidentifiedImageError

from adapters.base import Media
from adapters.errors import InvalidMedia
from adapters.media.image_headers import ADVICE, MAX_BYTES, MAX_PIXELS, Header, decode_errors, read_bytes, read_header

ImageType = Literal["image/png", "image/jpeg", "image/webp"]

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that undoes each value of EXIF's Orientation (Exif 2.32, tag 0x0112)."""


def open_image(
    media: Media, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES, param: str = "image"
) -> Image.Image:
    """The image, decoded and upright.

    Args:
        media: PNG, JPEG, WebP, GIF or BMP. Its claimed media type is not trusted.
        max_pixels: Maximum number of pixels; checked before decoding.
        max_bytes: Maximum encoded size.
        param: The request's field that `InvalidMedia` names.

    Returns:
        The image in the mode of its file, rotated by its EXIF orientation, without metadata; see `to_rgb`.

    Raises:
        InvalidMedia: The format is not supported, or the image is animated, damaged or too large.
    """
    with decode_errors(param):
        data = read_bytes(media, max_bytes)
        header = read_header(data, max_pixels)
        try:
            upright = _decode(data, header)
        except UnidentifiedImageError as error:
            raise InvalidMedia(f"The image cannot be decoded. {ADVICE}") from error
        except Image.DecompressionBombError as error:
            raise InvalidMedia("The image is too large to be decoded. Send a smaller one.") from error
        upright.info = {key: value for key, value in upright.info.items() if key == "transparency"}
        return upright


def to_rgb(image: Image.Image) -> Image.Image:
    """The image as 8-bit RGB: 16-bit grey is scaled, transparent areas become white."""
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow would clip at 255 instead of scaling.
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def encode_image(image: Image.Image, media_type: ImageType, quality: int | None = None) -> Media:
    """Encodes an image. The same pixels give the same bytes.

    Args:
        image: In any mode; JPEG has no transparency, so transparent areas become white.
        media_type: PNG is lossless.
        quality: 0..100, for JPEG and WebP; None: 95 and 90.

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


def _decode(data: bytes, header: Header) -> Image.Image:
    """Decodes and rotates the image, if it matches its header."""
    with Image.open(io.BytesIO(data), formats=(header.format,)) as image:
        if image.size != (header.width, header.height):
            raise InvalidMedia(f"The image is damaged: its size differs from its header. {ADVICE}")
        image.load()
        return image.transpose(_TRANSPOSE[turn]) if (turn := _orientation(image)) in _TRANSPOSE else image.copy()


def _orientation(image: Image.Image) -> int:
    """EXIF's Orientation; 1 (upright) if it is missing or cannot be read."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, struct.error):
        return 1  # Damaged metadata is no reason to reject the pixels.
