"""What goes on beside the work on videos: rows are handed to the queue, and what has ended is cleared away."""

import asyncio
import logging
import time

from adapters.errors import Interrupted
from compat.errors import RequestError, wire_error
from server.videos.events import JobEvents
from server.videos.files import JobFiles
from server.videos.queue import JobQueue
from server.videos.runner import JobWork
from server.videos.store import JobStore

log = logging.getLogger(__name__)

TICK_S = 2.0
SWEEP_S = 60.0


class Tending:
    """Keeps rows, queue and files of one server's video jobs in step."""

    def __init__(
        self, store: JobStore, files: JobFiles, queue: JobQueue, work: JobWork, events: JobEvents | None
    ) -> None:
        """Does nothing before `run`. Without `events`, nobody is told of anything."""
        self._store = store
        self._files = files
        self._queue = queue
        self._work = work
        self._events = events
        self._queued: set[str] = set()
        """What this process has handed to the queue."""
        self._telling: set[str] = set()
        """Events, the same."""
        self._told: set[str] = set()
        self._ended: set[str] = set()
        """What the queue may forget."""
        self._wake = asyncio.Event()
        self._swept_at = -SWEEP_S
        self._started = time.time()
        """Folders from before belong to rows, or to nobody."""

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    async def run(self) -> None:
        """Goes on for as long as the server does."""
        claimed = False
        while True:
            self._wake.clear()
            try:
                # Two servers of one data directory: one works, and the other's creates reach it through the database.
                if not claimed and await asyncio.to_thread(self._files.claim):
                    await self._store.requeue(self._files.server)
                    failed = await self._store.ids(self._files.server, "failed")  # a killed server may not have
                    await self._files.remove(*failed)
                    claimed = True
                if claimed:
                    await self._tend()
            except RequestError as error:
                log.warning("tending videos failed: %s", error.message)
            except Exception:
                log.exception("tending videos failed")
            try:
                await asyncio.wait_for(self._wake.wait(), TICK_S)
            except TimeoutError:
                continue

    async def discard(self, job_id: str) -> None:
        """Ends and removes what a job without a row still has."""
        await self._work.stop(job_id)
        await self._files.remove(job_id)
        self._queued.discard(job_id)
        self._ended.add(job_id)

    async def _tend(self) -> None:
        await self._hand_over()
        if self._events is not None:
            await self._tell(self._events)
        if ended := {job_id for job_id in self._ended if job_id not in self._work}:
            await self._queue.forget(sorted(ended))
            self._ended -= ended
        for job_id in await self._store.expire(self._files.server):
            await self.discard(job_id)
        if time.monotonic() - self._swept_at >= SWEEP_S:
            # Folders of requests that a killed server never acknowledged, and of jobs that it was about to remove.
            folders = await asyncio.to_thread(self._files.folders, max(self._started, time.time() - SWEEP_S))
            known = await self._store.ids(self._files.server)
            await self._files.remove(*(folders - known))
            self._swept_at = time.monotonic()

    async def _tell(self, events: JobEvents) -> None:
        """All events to the queue, and those out of it that were delivered."""
        waiting = set(await events.waiting(self._files.server))
        for event_id in waiting - self._telling | waiting & self._queue.lost:
            await self._queue.tell(event_id)
            self._telling.add(event_id)
        self._ended |= self._told - waiting  # a round later, so that the workflow has noted it
        self._telling -= self._told - waiting
        self._told = self._telling - waiting

    async def _hand_over(self) -> None:
        """All unfinished rows to the queue, which knows those that it has."""
        for job_id in await self._store.unfinished(self._files.server):
            if (job_id in self._queued and job_id not in self._queue.lost) or (
                job := await self._store.get(job_id)
            ) is None:
                continue
            if await self._queue.put(job.state.model, job_id, len(job.plan.shots)):
                self._queued.add(job_id)
            else:
                too_often = Interrupted("The server died over this video again and again.")
                await self._store.finish(job_id, wire_error(too_often))
