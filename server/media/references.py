"""Resolving what requests refer to: uploaded files of their owner, and images on the web."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from adapters.base import IMAGE_TEXT, ImagePart, JudgeRequest, Media, Message, Part, TextPart, TextRequest
from adapters.pool.fair_share import FairSlots
from compat.errors import RequestError
from compat.media import Reference, remote_urls_off
from server.outbound.image_fetcher import ImageFetcher
from server.storage.files import FileStore

MAX_REMOTE = 16
"""The most images of one request that are fetched from the web."""
CONCURRENT_FETCHES = 16
"""Images that are fetched at the same time, over all requests."""
CALLER_FETCHES = 4
"""Those of one caller."""


class ReferenceResolver:
    """Replaces references in requests by the media that they refer to."""

    def __init__(self, files: FileStore, fetcher: ImageFetcher | None) -> None:
        """Takes the sources of media. Without a fetcher, URLs on the web are rejected."""
        self._files = files
        self._fetcher = fetcher
        self._fetching = FairSlots(CONCURRENT_FETCHES, per_caller=CALLER_FETCHES)

    async def resolve_messages(self, owner: str, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Resolves the images of a conversation.

        Raises:
            RequestError: 404, the owner has no such file; 400, a URL is not allowed, or there is no image at it.
        """
        if not has_references(messages):
            return messages
        parts = [part for message in messages for part in message.content]
        resolved = iter(await self.resolve_parts(owner, parts))
        return tuple(replace(message, content=tuple(next(resolved) for _ in message.content)) for message in messages)

    async def resolve_text(self, owner: str, request: TextRequest) -> TextRequest:
        """Resolves the images of a text request. Raises as `resolve_messages`."""
        messages = await self.resolve_messages(owner, request.messages)
        return request if messages is request.messages else replace(request, messages=messages)

    async def resolve_judge(self, owner: str, request: JudgeRequest) -> JudgeRequest:
        """Resolves the images of questions. Raises as `resolve_messages`."""
        parts = [*request.content, *(part for question in request.questions for part in question.content)]
        if not any(map(_is_reference, parts)):
            return request
        resolved = iter(await self.resolve_parts(owner, parts))
        content = tuple(next(resolved) for _ in request.content)
        questions = [replace(one, content=tuple(next(resolved) for _ in one.content)) for one in request.questions]
        return replace(request, content=content, questions=tuple(questions))

    async def resolve_parts(self, owner: str, parts: Sequence[Part]) -> tuple[Part, ...]:
        """Resolves the images of content parts. Raises as `resolve_messages`."""
        required = [part.image for part in parts if isinstance(part, ImagePart) and not part.earlier]
        media = iter(await self.resolve_media(owner, required))
        earlier = await self._earlier(owner, parts)
        resolved: list[Part] = []
        for part in parts:
            if not isinstance(part, ImagePart):
                resolved.append(part)
            elif not part.earlier:
                resolved.append(replace(part, image=next(media)))
            elif not isinstance(part.image, Reference):
                resolved.append(part)
            elif (found := earlier.get((part.image.file_id, part.image.url))) is not None:
                resolved.append(replace(part, image=found))
            else:
                resolved.append(TextPart(IMAGE_TEXT))
        return tuple(resolved)

    async def _earlier(self, owner: str, parts: Sequence[Part]) -> dict[tuple[str, str], Media]:
        """The images of earlier messages by file id and URL, as far as they can be read; of URLs the latest only."""
        references = {
            (part.image.file_id, part.image.url): part.image
            for part in reversed(parts)
            if isinstance(part, ImagePart) and part.earlier and isinstance(part.image, Reference)
        }
        remote = [key for key, reference in references.items() if reference.url]
        for key in remote[MAX_REMOTE:]:
            del references[key]
        found: dict[tuple[str, str], Media] = {}

        async def resolve(key: tuple[str, str], reference: Reference) -> None:
            with suppress(RequestError):
                (found[key],) = await self.resolve_media(owner, [reference])

        await asyncio.gather(*(resolve(key, reference) for key, reference in references.items()))
        return found

    async def resolve_media(self, owner: str, media: Sequence[Media]) -> list[Media]:
        """Resolves images. Raises as `resolve_messages`."""
        remote = {one.url: one.param for one in media if isinstance(one, Reference) and one.url}
        if len(remote) > MAX_REMOTE:
            raise RequestError(
                f"A request may contain at most {MAX_REMOTE} different image URLs. Send the other images as data URLs.",
                param=list(remote.values())[MAX_REMOTE],
            )
        fetched = await self._fetched(remote)
        return [await self._resolve(owner, one, fetched) for one in media]

    async def _fetched(self, remote: dict[str, str]) -> dict[str, Media]:
        fetcher = self._fetcher
        if fetcher is None or not remote:
            return {}

        async def fetch(url: str, param: str) -> Media:
            async with self._fetching.slot():
                return await fetcher.fetch(url, param=param)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = {url: group.create_task(fetch(url, param)) for url, param in remote.items()}
        except* RequestError as errors:
            raise errors.exceptions[0] from None
        return {url: task.result() for url, task in tasks.items()}

    async def _resolve(self, owner: str, media: Media, fetched: dict[str, Media]) -> Media:
        if not isinstance(media, Reference):
            return media
        if media.file_id:
            return await self._files.media(owner, media.file_id, media.param)
        if media.url not in fetched:
            raise remote_urls_off(media.param)
        return fetched[media.url]


def has_references(messages: Sequence[Message]) -> bool:
    """Whether messages refer to media that a resolver must get: waiting for it ends when the client leaves."""
    return any(_is_reference(part) for message in messages for part in message.content)


def _is_reference(part: Part) -> bool:
    return isinstance(part, ImagePart) and isinstance(part.image, Reference)
