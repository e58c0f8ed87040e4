"""Pictures of a request, looked at before anything is loaded or kept for it."""

import asyncio
from collections.abc import Iterable

from adapters.base import Media
from adapters.media.image_headers import check_image


async def look_at(pictures: Iterable[tuple[Media, str]]) -> None:
    """Lets pictures through that say by their first bytes that they are some; the model decodes them.

    Args:
        pictures: Each with the name of its field.

    Raises:
        InvalidMedia: One is none, or is too large; names its field.
    """

    def look() -> None:
        for picture, name in pictures:
            check_image(picture, param=name)

    await asyncio.to_thread(look)
