"""A response that is being worked on: what it was asked, what it has written so far, and who follows it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from adapters.base import TextRequest
from compat.errors import RequestError
from compat.responses.input import Item
from compat.responses.reply import Response
from compat.responses.request import ResponseCall
from compat.responses.stream import ResponseWriter


@dataclass(slots=True)
class Draft:
    """A response before any work: its conversation is put together."""

    owner: str
    call: ResponseCall
    request: TextRequest
    """Whole, with its messages."""
    response: Response
    given: Sequence[Item]
    """Its own input, references resolved."""
    chain: Sequence[str]
    """The responses that it builds on, oldest first."""
    writer: ResponseWriter


@dataclass(slots=True)
class Run:
    """A background response in progress."""

    draft: Draft
    frames: list[bytes] = field(default_factory=list[bytes])
    """The events of its stream so far, each at the index that is its sequence number."""
    task: asyncio.Task[None] | None = None
    ending: Literal["", "cancelled", "stopped"] = ""
    """Why the task was cancelled: by the client, or because the server stops."""
    ended: bool = False
    failure: Exception | None = None
    """Why the end could not be stored, if so: nobody may take the last frame for the end."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, frames: Sequence[bytes]) -> None:
        """Tells all who follow of the next events."""
        self.frames += frames
        self.wake()

    def wake(self) -> None:
        """Lets all who follow look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def stop(self, why: Literal["cancelled", "stopped"]) -> None:
        """Ends the work and waits until its end is stored."""
        if self.task is not None and not self.task.done():
            if not self.ending and not self.draft.writer.finished:
                self.ending = why
                await asyncio.sleep(0)  # a task that is cancelled before its first step would never clean up
                if not self.draft.writer.finished:  # it may have come to its end just now, which is being stored
                    self.task.cancel()
            await asyncio.wait([self.task])

    async def follow(self, start: int) -> AsyncGenerator[bytes]:
        """All frames from an index on, as they come.

        Raises:
            RequestError: There never was such a frame; or the end could not be stored.
        """
        at = start
        while True:
            while at < len(self.frames):
                yield self.frames[at]
                at += 1
            if self.ended:
                break
            await self.changed.wait()
        if self.failure is not None:
            raise self.failure
        check_start(start, len(self.frames))


def check_start(start: int, count: int) -> None:
    """Refuses to begin a stream behind its end.

    Raises:
        RequestError: 400.
    """
    if start >= count:
        raise RequestError(f"The stream has {count} events.", param="starting_after", code="invalid_value")
