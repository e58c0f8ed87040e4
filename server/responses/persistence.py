"""Storing responses while they are generated and when they have ended, also when a server or the database fails.

A server renews the leases of the stored responses that it generates. A response whose lease has expired is failed: by
the next request for it, or within seconds by any server. It is not generated again, since a client that has received
half of it cannot take that back.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

import msgspec

from adapters.errors import Interrupted
from compat.errors import RequestError, wire_error
from compat.responses.reply import render_error
from compat.responses.request import is_id
from server.responses.runs import Draft
from server.responses.store import ResponseStore, StoredResponse

log = logging.getLogger(__name__)

LEASE_S = 15.0
"""A server that has not renewed a lease for this long is assumed to have ended."""
RETRY_FOR_S = 60.0
"""How long storing a result is retried while the database fails."""
STOPPED = "The server was stopped before the response was finished. Send the request again."


class ResponsePersistence:
    """Stores the responses that this server generates, and fails those that ended servers have left."""

    def __init__(self, store: ResponseStore) -> None:
        """Takes the store."""
        self._store = store
        self._active: set[str] = set()
        """Ids of stored responses that this server generates."""
        self._saving: set[asyncio.Task[None]] = set()
        self._closing = False

    async def begin(self, draft: Draft) -> None:
        """Stores a response before its generation starts.

        Raises:
            RequestError: 429 or 503, it cannot be stored.
        """
        self._active.add(draft.response.id)
        try:
            lease_until = time.time() + LEASE_S
            await self._store.insert(draft.owner, draft.response, draft.input_items, draft.chain, lease_until)
        except BaseException:
            self._active.discard(draft.response.id)
            raise

    def finish(self, draft: Draft, frames: Sequence[bytes] = ()) -> asyncio.Task[None]:
        """Stores the result of a response, in its own task, so that cancelling the caller does not stop it."""
        task = asyncio.create_task(self._finish(draft, frames))
        self._saving.add(task)
        task.add_done_callback(lambda done: self._finished(draft.response.id, done))
        return task

    async def get(self, owner: str, response_id: str) -> StoredResponse:
        """A stored response of this owner. One whose server has ended is failed first.

        Raises:
            RequestError: 404, the owner has no such response; 503.
        """
        found = await self._store.get(owner, response_id) if is_id(response_id) else None
        if found is None:
            raise not_found()
        if found.abandoned and response_id not in self._active:
            error = msgspec.to_builtins(render_error(wire_error(Interrupted(STOPPED))))
            await self._store.end(owner, found, "failed", error)
            found = await self._store.get(owner, response_id)  # it may have ended in another way just now
            if found is None:
                raise not_found()
        return found

    async def reconcile(self) -> set[str]:
        """Renews leases, fails responses of ended servers, and removes expired ones.

        Returns:
            Ids of responses that this server generates, and that were ended or deleted by another server.
        """
        active = set(self._active)
        alive = await self._store.renew(sorted(active), time.time() + LEASE_S) if active else active
        for owner, response_id in await self._store.abandoned():
            await self.get(owner, response_id)
        await self._store.expire()
        return (active - alive) & self._active

    def stop_retrying(self) -> None:
        """The server stops: results are no longer retried while the database fails."""
        self._closing = True

    async def aclose(self) -> None:
        """Waits until all results are stored or have failed to be."""
        await asyncio.gather(*self._saving, return_exceptions=True)

    async def _finish(self, draft: Draft, frames: Sequence[bytes]) -> None:
        deadline, again = time.monotonic() + RETRY_FOR_S, False
        while draft.call.store:
            try:
                return await self._store.finish(draft.owner, draft.response, frames, again=again)
            except RequestError:
                if time.monotonic() > deadline or self._closing:
                    raise
                again = True
                await asyncio.sleep(1)
        return None

    def _finished(self, response_id: str, task: asyncio.Task[None]) -> None:
        self._saving.discard(task)
        self._active.discard(response_id)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the result of %s was not stored: %s", response_id, error)


def not_found() -> RequestError:
    """The same error for a response that does not exist and for one of another owner."""
    return RequestError(
        "There is no stored response with that id. It was deleted, has expired, was created with store: false, or "
        "belongs to another API key.",
        code="response_not_found",
        param="response_id",
        status=404,
    )
