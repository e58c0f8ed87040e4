"""Checking the images of a request before a model is loaded or a job is created for it."""

import asyncio
from collections.abc import Iterable

from adapters.base import Media
from adapters.media.image_headers import check_image


async def check_images(images: Iterable[tuple[Media, str]]) -> None:
    """Checks the headers of images: format and size. The model decodes them later.

    Args:
        images: Each image with the name of its field.

    Raises:
        InvalidMedia: A file is not an image, or is too large. Names the field.
    """

    def check() -> None:
        for image, name in images:
            check_image(image, param=name)

    await asyncio.to_thread(check)
