"""Images of a prompt: decoded, scaled down to what the model's processor can use, and hashed for vLLM's caches."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from adapters.base import ImagePart, Media
from adapters.errors import InvalidMedia
from adapters.media.decode_image import open_image, to_rgb
from adapters.media.image_headers import pixels_of

if TYPE_CHECKING:
    from PIL.Image import Image

LOW_SIDE = 512
"""Longest side, in pixels, of an image of detail "low" as OpenAI documents it, for models without tiles."""
HIGH_SIDE = 4096
"""The same for all other images, so that many of them do not fill the memory."""


MAX_TOTAL_PIXELS = 200_000_000
"""Of all images of a request: 16 of a camera with 12 megapixels. Decoding takes about a second for 20 of them."""


class MaxSides(NamedTuple):
    """The longest sides, in pixels, to which images are scaled down."""

    low: int
    """For detail "low": one tile."""
    high: int
    """For "high" and "auto": twice the largest grid of tiles, so that the processor's own scaling decides."""


class PromptImage(NamedTuple):
    """A decoded image, and a hash of its content for vLLM's caches, which would hash all pixels again."""

    image: "Image"
    digest: str


PromptImages = Mapping[int, PromptImage]
"""By `id` of the `ImagePart`: the request keeps the parts alive while this is used."""


def max_sides(config: Any) -> MaxSides:
    """The sides for a model's configuration: models like LLaVA list the grids of tiles that they can use."""
    grids: Any = getattr(config, "image_grid_pinpoints", None) or ()
    lengths = [side for grid in grids for side in grid]
    return MaxSides(min(lengths), 2 * max(lengths)) if lengths else MaxSides(LOW_SIDE, HIGH_SIDE)


def check_total(media: Sequence[Media], param: str) -> None:
    """Refuses images that are too large together, before any of them is decoded.

    Raises:
        InvalidMedia: They have too many pixels, or one of them is no image that can be decoded.
    """
    total = sum(pixels_of(one, param=param) for one in media)
    if total > MAX_TOTAL_PIXELS:
        raise InvalidMedia(
            f"The images have {total:,} pixels; a request may have at most {MAX_TOTAL_PIXELS:,}. Send fewer or smaller "
            "images.",
            param=param,
        )


def decode(part: ImagePart, sides: MaxSides, param: str) -> PromptImage:
    """The image, upright, in RGB, and scaled down to its detail.

    Raises:
        InvalidMedia: It cannot be read.
    """
    image = to_rgb(open_image(part.image, param=param))
    side = sides.low if part.detail == "low" else sides.high
    image.thumbnail((side, side))
    digest = hashlib.sha256(f"{image.width}x{image.height}".encode())
    digest.update(image.tobytes())
    return PromptImage(image, digest.hexdigest())
