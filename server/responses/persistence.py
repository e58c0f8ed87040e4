"""Keeps responses while and after they are worked on: beginnings, signs of life, ends that must not be lost.

While a server works on a stored response it says every few seconds that it lives. One whose server has not said so is
`failed`, at the next look at it and at the latest some seconds later, whichever server looks. It is not begun anew: a
client that got half of it cannot take back what it showed.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

import msgspec

from adapters.errors import Interrupted
from compat.errors import RequestError, wire_error
from compat.responses import request
from compat.responses.reply import render_error
from server.responses.runs import Draft
from server.responses.store import ResponseStore, Stored

log = logging.getLogger(__name__)

LEASE_S = 15.0
"""A server that has not said for so long that it works on a response is dead."""
KEEP_S = 60.0
"""How long the end of a response is tried to be stored, while the database fails."""
STOPPED = "The server was stopped before the response was done."


class Keeper:
    """What this server keeps of its responses, and of those that dead servers left behind."""

    def __init__(self, store: ResponseStore) -> None:
        """Takes the store."""
        self._store = store
        self._working: set[str] = set()
        """Ids of stored responses that this server works on."""
        self._keeping: set[asyncio.Task[None]] = set()
        self._closing = False

    async def begin(self, draft: Draft) -> None:
        """Stores a response that is about to be worked on.

        Raises:
            RequestError: 429 or 503, it cannot be stored.
        """
        self._working.add(draft.response.id)
        try:
            lease_until = time.time() + LEASE_S
            await self._store.insert(draft.owner, draft.response, draft.given, draft.chain, lease_until)
        except BaseException:
            self._working.discard(draft.response.id)
            raise

    def keep(self, draft: Draft, frames: Sequence[bytes] = ()) -> asyncio.Task[None]:
        """Stores the end of a response, in a task of its own: who waits for it may go away."""
        task = asyncio.create_task(self._keep(draft, frames))
        self._keeping.add(task)
        task.add_done_callback(lambda done: self._kept(draft.response.id, done))
        return task

    async def stored(self, owner: str, response_id: str) -> Stored:
        """A response of this owner, as it is kept.

        Raises:
            RequestError: 404, for another's response too; 503.
        """
        found = await self._store.get(owner, response_id) if request.is_id(response_id) else None
        if found is None:
            raise not_found()
        if found.abandoned and response_id not in self._working:
            error = msgspec.to_builtins(render_error(wire_error(Interrupted(STOPPED))))
            await self._store.end(owner, found, "failed", error)
            found = await self._store.get(owner, response_id)  # it may have ended otherwise just now
            if found is None:
                raise not_found()
        return found

    async def tend(self) -> set[str]:
        """Says that this server lives, gives up what dead servers left, removes what has expired.

        Returns:
            Ids of responses that this server works on, and that were ended or deleted through another one.
        """
        asked = set(self._working)
        alive = await self._store.renew(sorted(asked), time.time() + LEASE_S) if asked else asked
        for owner, response_id in await self._store.abandoned():
            await self.stored(owner, response_id)
        await self._store.expire()
        return (asked - alive) & self._working

    def hurry(self) -> None:
        """The server stops: a database that fails is not waited for any longer."""
        self._closing = True

    async def aclose(self) -> None:
        """Waits for ends that are being stored."""
        await asyncio.gather(*self._keeping, return_exceptions=True)

    async def _keep(self, draft: Draft, frames: Sequence[bytes]) -> None:
        deadline, again = time.monotonic() + KEEP_S, False
        while draft.call.store:
            try:
                return await self._store.finish(draft.owner, draft.response, frames, again=again)
            except RequestError:
                if time.monotonic() > deadline or self._closing:
                    raise
                again = True
                await asyncio.sleep(1)
        return None

    def _kept(self, response_id: str, task: asyncio.Task[None]) -> None:
        self._keeping.discard(task)
        self._working.discard(response_id)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the end of %s was not stored: %s", response_id, error)


def not_found() -> RequestError:
    """There is none of that id, or it is another's: nobody can tell which."""
    return RequestError("There is no response of that id.", code="response_not_found", param="response_id", status=404)
