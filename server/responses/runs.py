"""Responses that are being generated: the request, the events so far, and the clients that follow a background run."""

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
    """A response before its generation, with its whole conversation."""

    owner: str
    call: ResponseCall
    request: TextRequest
    """The model's request, with all messages."""
    response: Response
    input_items: Sequence[Item]
    """Its own input, with references resolved."""
    chain: Sequence[str]
    """Ids of the responses that it continues, oldest first."""
    writer: ResponseWriter


@dataclass(slots=True)
class BackgroundRun:
    """A background response that is being generated."""

    draft: Draft
    frames: list[bytes] = field(default_factory=list[bytes])
    """The events of its stream so far; the index is the sequence number."""
    task: asyncio.Task[None] | None = None
    ending: Literal["", "cancelled", "stopped"] = ""
    """Why the task was cancelled: by a client, or because the server stops."""
    ended: bool = False
    failure: Exception | None = None
    """Why the result could not be stored. Followers get this error instead of the last event."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, frames: Sequence[bytes]) -> None:
        """Adds events, and wakes all followers."""
        self.frames += frames
        self.wake()

    def wake(self) -> None:
        """Wakes all followers."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def stop(self, reason: Literal["cancelled", "stopped"]) -> None:
        """Cancels the generation, and waits until its result is stored."""
        if self.task is not None and not self.task.done():
            if not self.ending and not self.draft.writer.finished:
                self.ending = reason
                await asyncio.sleep(0)  # a task that is cancelled before its first step does not run its cleanup
                if not self.draft.writer.finished:  # it may have finished just now, and its result is being stored
                    self.task.cancel()
            await asyncio.wait([self.task])

    async def follow(self, start: int) -> AsyncGenerator[bytes]:
        """All events from an index on, as they arrive.

        Raises:
            RequestError: The stream has ended before that index, or the result could not be stored.
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
    """Requires that a stream has an event at an index.

    Raises:
        RequestError: 400, it has not.
    """
    if start >= count:
        raise RequestError(
            f"Invalid 'starting_after': the stream has only {count} events, numbered from 0. Send the number of "
            "an earlier event.",
            param="starting_after",
            code="invalid_value",
        )
