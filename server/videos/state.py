"""What video jobs are while they are asked for and worked on, and not yet, or no more, rows."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from compat.errors import RequestError
from compat.videos.replies import Status

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What tells a request from another of the same words."""

    fingerprint: str
    retry_key: str | None = None
    """Of the Idempotency-Key header."""
    is_retry: bool = False
    """The SDK sends it again, because it got no reply."""


@dataclass(slots=True)
class Live:
    """A job that is worked on now."""

    task: asyncio.Task[bool]
    status: Status | None = None
    progress: int = 0
    written_at: float = 0.0


class Gone(Exception):
    """The job was deleted meanwhile."""


class Doors:
    """How many requests of an owner are taken in at the same time; the others wait, and their bodies with them.

    A body's texts, and pictures in them, are in memory until the job has them as files.
    """

    def __init__(self, at_once: int) -> None:
        """All doors are free."""
        self._at_once = at_once
        self._owners: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def through(self, owner: str) -> AsyncGenerator[None]:
        """Waits for a door of this owner, and keeps it."""
        door, using = self._owners.get(owner, (asyncio.Semaphore(self._at_once), 0))
        self._owners[owner] = door, using + 1
        try:
            async with door:
                yield
        finally:
            door, using = self._owners[owner]
            if using > 1:
                self._owners[owner] = door, using - 1
            else:
                del self._owners[owner]


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """The work's result, even when whoever waits for it is cancelled meanwhile: it was done, or it was not."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        return task.result()


async def stop(live: Live) -> None:
    """Ends the work on a job, and waits until it has ended."""
    live.task.cancel()
    await asyncio.wait([live.task])


def not_found() -> RequestError:
    """There is none of that id, or it is another's: nobody can tell which."""
    return RequestError("There is no video of that id.", code="video_not_found", param="video_id", status=404)
