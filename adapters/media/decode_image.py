"""Untrusted bytes to pixels, and pixels to bytes: the only decoder of uploaded pictures.

`image_headers` reads format, size and frames first; Pillow may then use no other format, and must find the same size.
Nothing here knows a model.
"""

import io
import struct
from typing import Literal

from PIL import Image, UnidentifiedImageError

from adapters.base import Media
from adapters.errors import InvalidMedia
from adapters.media.image_headers import ADVICE, MAX_BYTES, MAX_PIXELS, Header, accepted, read, refusing

ImageType = Literal["image/png", "image/jpeg", "image/webp"]

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
    with refusing(param):
        data = read(media, max_bytes)
        header = accepted(data, max_pixels)
        try:
            upright = _decode(data, header)
        except UnidentifiedImageError as error:
            raise InvalidMedia(f"The file is not a picture that can be read. {ADVICE}") from error
        except Image.DecompressionBombError as error:
            raise InvalidMedia("The picture is too large to be decoded.") from error
        upright.info = {key: value for key, value in upright.info.items() if key == "transparency"}
        return upright


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


def _decode(data: bytes, header: Header) -> Image.Image:
    """The picture, as its header says it is, upright."""
    with Image.open(io.BytesIO(data), formats=(header.format,)) as image:
        if image.size != (header.width, header.height):
            raise InvalidMedia("The picture is damaged: it contradicts itself about its size.")
        image.load()
        return image.transpose(_UPRIGHT[turn]) if (turn := _orientation(image)) in _UPRIGHT else image.copy()


def _orientation(image: Image.Image) -> int:
    """EXIF's Orientation; 1, upright, where the picture has none or where it cannot be read."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, struct.error):
        return 1  # Broken metadata are no reason to refuse good pixels.
