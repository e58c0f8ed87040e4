"""Images of a prompt: decoded, made no larger than the model's processor can use, and named for vLLM's caches."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from adapters.base import ImagePart
from adapters.media.decode_image import open_image, to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

LOW_SIDE = 512
"""Pixels that an image of detail "low" is made to fit in, as OpenAI documents it, where a model has no tiles."""
HIGH_SIDE = 4096
"""The same for all other images, so that many of them do not fill the memory."""


class Sides(NamedTuple):
    """Squares, in pixels, that images are made to fit in."""

    low: int
    """For detail "low": one tile."""
    high: int
    """For "high" and "auto": twice what the largest grid of tiles shows, so that the processor's own scaling counts."""


class Picture(NamedTuple):
    """A decoded image, and a name of its content for vLLM's caches, which would else hash all pixels."""

    image: "Image"
    digest: str


Pictures = Mapping[int, Picture]
"""By `id` of the part: the request holds the parts while this is used."""


def sides(config: Any) -> Sides:
    """What a model's configuration says of its tiles: models of LLaVA's kind name the grids that they can have."""
    grids: Any = getattr(config, "image_grid_pinpoints", None) or ()
    lengths = [side for grid in grids for side in grid]
    return Sides(min(lengths), 2 * max(lengths)) if lengths else Sides(LOW_SIDE, HIGH_SIDE)


def picture(part: ImagePart, fitting: Sides, param: str) -> Picture:
    """The image, upright, in RGB, and no larger than its detail asks for.

    Raises:
        InvalidMedia: It cannot be read.
    """
    image = to_rgb(open_image(part.image, param=param))
    side = fitting.low if part.detail == "low" else fitting.high
    image.thumbnail((side, side))
    digest = hashlib.sha256(f"{image.width}x{image.height}".encode())
    digest.update(image.tobytes())
    return Picture(image, digest.hexdigest())
