"""Uploaded images and masks for image-to-image and inpainting."""

from typing import Any

from PIL import Image, ImageOps

from adapters.base import ImageRequest
from adapters.errors import InvalidMedia
from adapters.image.options import Sources, check_size, nearest_size
from adapters.media.decode_image import open_image, to_rgb

MAX_SOURCE_PIXELS = 32_000_000
"""Maximum size of an uploaded image or mask."""


def decode_sources(request: ImageRequest, side: int, max_pixels: int) -> tuple[Sources, tuple[int, int]]:
    """Decodes the request's image and mask, and determines the output size. Blocks.

    An image with another aspect ratio than the output is cropped equally at both edges.

    Args:
        request: One with a source.
        side: Sides must be multiples of this, in pixels.
        max_pixels: Maximum pixels of the output.

    Raises:
        InvalidMedia: One cannot be decoded, or their sizes differ.
        UnsupportedOption: The model does not support the size.
    """
    assert request.source is not None
    image = open_image(request.source, max_pixels=MAX_SOURCE_PIXELS, param="image")
    if request.width is None or request.height is None:
        size = nearest_size(image, side, max_pixels)
    else:
        size = request.width, request.height
    check_size(*size, side, max_pixels)
    mask = _mask(request, image)
    image = ImageOps.fit(to_rgb(image), size, Image.Resampling.LANCZOS)
    if mask is not None:
        mask = ImageOps.fit(mask, size, Image.Resampling.NEAREST)
    return Sources(image, mask), size


def _mask(request: ImageRequest, image: Image.Image) -> Image.Image | None:
    """White where the mask is fully transparent (OpenAI's convention), black elsewhere."""
    if request.mask is None:
        return None
    mask = open_image(request.mask, max_pixels=MAX_SOURCE_PIXELS, param="mask")
    if mask.size != image.size:
        raise InvalidMedia(
            f"The mask has {mask.width} x {mask.height} pixels, the image {image.width} x {image.height}; send one of "
            "the image's size.",
            param="mask",
        )
    if not mask.has_transparency_data:
        raise InvalidMedia(
            "The mask has no transparency: make it transparent where the image is to be edited.", param="mask"
        )
    editable = mask.convert("RGBA").getchannel("A").point(lambda alpha: 255 if alpha == 0 else 0)
    if not editable.getbbox():
        raise InvalidMedia(
            "The mask has no fully transparent pixel, so nothing would be edited: make part of it transparent.",
            param="mask",
        )
    return editable


def restore_unmasked(generated: Any, sources: Sources) -> Image.Image:
    """The generated image with the source's own pixels outside of the mask.

    Args:
        generated: uint8 [height, width, 3].
        sources: As `decode_sources` returned them.
    """
    image = Image.fromarray(generated)
    return image if sources.mask is None else Image.composite(image, sources.image, sources.mask)
