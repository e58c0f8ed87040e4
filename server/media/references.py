"""What requests refer to, put in its place: uploaded files of their owner, and images on the web."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from adapters.base import ImagePart, JudgeRequest, Media, Message, Part, TextRequest
from compat.errors import RequestError
from compat.media import Reference, remote_urls_off
from server.outbound.image_fetcher import Fetcher
from server.storage.files import Files

MAX_REMOTE = 16
"""Images of one request that are fetched."""
AT_ONCE = 4


class References:
    """Finds what is referred to."""

    def __init__(self, files: Files, fetcher: Fetcher | None) -> None:
        """Takes the stores; without a fetcher, no URL is followed."""
        self._files = files
        self._fetcher = fetcher
        self._fetching = asyncio.Semaphore(AT_ONCE)

    async def messages(self, owner: str, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """A conversation with its images in place.

        Raises:
            RequestError: 404, a file is not the owner's; 400, a URL is not followed, or leads to no image.
        """
        parts = [part for message in messages for part in message.content]
        if not _refers(parts):
            return messages
        placed = iter(await self.parts(owner, parts))
        return tuple(replace(message, content=tuple(next(placed) for _ in message.content)) for message in messages)

    async def text(self, owner: str, request: TextRequest) -> TextRequest:
        """A request with its images in place. Raises as `messages`."""
        messages = await self.messages(owner, request.messages)
        return request if messages is request.messages else replace(request, messages=messages)

    async def judged(self, owner: str, request: JudgeRequest) -> JudgeRequest:
        """Questions with their images in place. Raises as `messages`."""
        parts = [*request.content, *(part for question in request.questions for part in question.content)]
        if not _refers(parts):
            return request
        placed = iter(await self.parts(owner, parts))
        content = tuple(next(placed) for _ in request.content)
        questions = [replace(one, content=tuple(next(placed) for _ in one.content)) for one in request.questions]
        return replace(request, content=content, questions=tuple(questions))

    async def parts(self, owner: str, parts: Sequence[Part]) -> tuple[Part, ...]:
        """Parts with their images in place. Raises as `messages`."""
        media = iter(await self.media(owner, [part.image for part in parts if isinstance(part, ImagePart)]))
        return tuple(replace(part, image=next(media)) if isinstance(part, ImagePart) else part for part in parts)

    async def media(self, owner: str, media: Sequence[Media]) -> list[Media]:
        """Images, wherever they are. Raises as `messages`."""
        remote = {one.url: one.param for one in media if isinstance(one, Reference) and one.url}
        if len(remote) > MAX_REMOTE:
            raise RequestError(
                f"At most {MAX_REMOTE} images of one request are fetched.", param=list(remote.values())[MAX_REMOTE]
            )
        fetched = await self._fetched(remote)
        return [await self._place(owner, one, fetched) for one in media]

    async def _fetched(self, remote: dict[str, str]) -> dict[str, Media]:
        fetcher = self._fetcher
        if fetcher is None or not remote:
            return {}

        async def fetch(url: str, param: str) -> Media:
            async with self._fetching:
                return await fetcher.fetch(url, param=param)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = {url: group.create_task(fetch(url, param)) for url, param in remote.items()}
        except* RequestError as errors:
            raise errors.exceptions[0] from None
        return {url: task.result() for url, task in tasks.items()}

    async def _place(self, owner: str, media: Media, fetched: dict[str, Media]) -> Media:
        if not isinstance(media, Reference):
            return media
        if media.file_id:
            return await self._files.media(owner, media.file_id, media.param)
        if media.url not in fetched:
            raise remote_urls_off(media.param)
        return fetched[media.url]


def _refers(parts: Sequence[Part]) -> bool:
    return any(isinstance(part, ImagePart) and isinstance(part.image, Reference) for part in parts)
