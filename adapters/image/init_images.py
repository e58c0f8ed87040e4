"""Uploaded images and masks, as a model draws over them."""

from typing import Any

from PIL import Image, ImageOps

from adapters.base import ImageRequest
from adapters.errors import InvalidMedia
from adapters.image.options import Sources, check_size, fitting
from adapters.media.decode_image import open_image, to_rgb

MAX_SOURCE_PIXELS = 32_000_000
"""Of an uploaded image, and of a mask."""


def read_sources(request: ImageRequest, side: int, max_pixels: int) -> tuple[Sources, tuple[int, int]]:
    """The request's image and mask, and the size that is drawn. Blocks while they are decoded.

    An image of another shape than the size is cut at its edges, alike on both sides.

    Args:
        request: With a source.
        side: Sizes are multiples of so many pixels.
        max_pixels: That the model draws at most.

    Raises:
        InvalidMedia: One cannot be read, or they do not belong together.
        UnsupportedOption: The size is none that the model can draw.
    """
    assert request.source is not None
    image = open_image(request.source, max_pixels=MAX_SOURCE_PIXELS, param="image")
    if request.width is None or request.height is None:
        size = fitting(image, side, max_pixels)
    else:
        size = request.width, request.height
    check_size(*size, side, max_pixels)
    mask = _mask(request, image)
    image = ImageOps.fit(to_rgb(image), size, Image.Resampling.LANCZOS)
    if mask is not None:
        mask = ImageOps.fit(mask, size, Image.Resampling.NEAREST)
    return Sources(image, mask), size


def _mask(request: ImageRequest, image: Image.Image) -> Image.Image | None:
    """White where the mask is fully transparent, as OpenAI has it, and black elsewhere."""
    if request.mask is None:
        return None
    mask = open_image(request.mask, max_pixels=MAX_SOURCE_PIXELS, param="mask")
    if mask.size != image.size:
        raise InvalidMedia(
            f"The mask has {mask.width} x {mask.height} pixels and the image {image.width} x {image.height}.",
            param="mask",
        )
    if not mask.has_transparency_data:
        raise InvalidMedia("The mask has no transparency: it must be transparent where is to be drawn.", param="mask")
    drawn = mask.convert("RGBA").getchannel("A").point(lambda alpha: 255 if alpha == 0 else 0)
    if not drawn.getbbox():
        raise InvalidMedia("The mask is nowhere fully transparent, so there is nothing to draw.", param="mask")
    return drawn


def keep_rest(drawn: Any, sources: Sources) -> Image.Image:
    """What was drawn within the mask, and the image's own pixels beside it.

    Args:
        drawn: uint8 [height, width, 3].
        sources: As `read_sources` gave them.
    """
    image = Image.fromarray(drawn)
    return image if sources.mask is None else Image.composite(image, sources.image, sources.mask)
