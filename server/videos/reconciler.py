"""Keeps the rows, the queue and the files of video jobs consistent, beside the work on the jobs themselves."""

import asyncio
import logging
import time

from adapters.errors import Interrupted
from compat.errors import RequestError, wire_error
from server.storage.clock import steady_time
from server.videos.events import JobEvents
from server.videos.files import JobFiles
from server.videos.queue import JobQueue
from server.videos.runner import JobRunner
from server.videos.store import JobStore

log = logging.getLogger(__name__)

INTERVAL_S = 2.0
SWEEP_S = 60.0


class Reconciler:
    """Hands new rows to the queue, and removes what deleted, expired and failed jobs leave."""

    def __init__(
        self, store: JobStore, files: JobFiles, queue: JobQueue, runner: JobRunner, events: JobEvents | None
    ) -> None:
        """Does nothing before `run`. Without `events`, no webhooks are sent."""
        self._store = store
        self._files = files
        self._queue = queue
        self._runner = runner
        self._events = events
        self._queued: set[str] = set()
        """Jobs that this process has handed to the queue."""
        self._queued_events: set[str] = set()
        """Events that this process has handed to the queue."""
        self._delivered: set[str] = set()
        self._ended: set[str] = set()
        """Jobs and events that the queue can forget."""
        self._wake = asyncio.Event()
        self._swept_at = -SWEEP_S
        self._started = time.time()
        """Folders from before this time belong to rows, or are left over."""

    def wake(self) -> None:
        """Starts the next round at once."""
        self._wake.set()

    async def run(self) -> None:
        """Runs rounds for as long as the server runs."""
        claimed = False
        while True:
            self._wake.clear()
            try:
                # Of two servers with one data directory, one works; jobs that the other creates reach it by the rows.
                if not claimed and await asyncio.to_thread(self._files.claim):
                    await self._store.requeue(self._files.server)
                    # A server that was killed may not have removed the files of its failed jobs.
                    await self._files.remove(*await self._store.ids(self._files.server, "failed"))
                    claimed = True
                if claimed:
                    await self._reconcile()
            except RequestError as error:
                log.warning("reconciling video jobs failed: %s", error.message)
            except Exception:
                log.exception("reconciling video jobs failed")
            try:
                await asyncio.wait_for(self._wake.wait(), INTERVAL_S)
            except TimeoutError:
                continue

    async def discard(self, job_id: str) -> None:
        """Stops a job whose row was deleted, and removes its files."""
        await self._runner.stop(job_id)
        await self._files.remove(job_id)
        self._queued.discard(job_id)
        self._ended.add(job_id)

    async def _reconcile(self) -> None:
        await self._queue_jobs()
        if self._events is not None:
            await self._queue_events(self._events)
        if ended := {job_id for job_id in self._ended if job_id not in self._runner}:
            await self._queue.forget(sorted(ended))
            self._ended -= ended
        for job_id in await self._store.expire(self._files.server):
            await self.discard(job_id)
        if time.monotonic() - self._swept_at >= SWEEP_S:
            # Folders of requests that a killed server never acknowledged, and of jobs that it was about to remove.
            folders = await asyncio.to_thread(self._files.folders, max(self._started, steady_time() - SWEEP_S))
            known = await self._store.ids(self._files.server)
            await self._files.remove(*(folders - known))
            self._swept_at = time.monotonic()

    async def _queue_events(self, events: JobEvents) -> None:
        """Hands all events to the queue, and lets it forget those that were delivered."""
        pending = set(await events.pending(self._files.server))
        for event_id in pending - self._queued_events | pending & self._queue.lost:
            await self._queue.put_event(event_id)
            self._queued_events.add(event_id)
        self._ended |= self._delivered - pending  # one round later, when the workflow has recorded it
        self._queued_events -= self._delivered - pending
        self._delivered = self._queued_events - pending

    async def _queue_jobs(self) -> None:
        """Hands all unfinished rows to the queue, which ignores those that it has."""
        for job_id in await self._store.unfinished(self._files.server):
            if (job_id in self._queued and job_id not in self._queue.lost) or (
                job := await self._store.get(job_id)
            ) is None:
                continue
            if await self._queue.put(job.state.model, job_id, len(job.plan.shots)):
                self._queued.add(job_id)
            else:
                error = Interrupted("The server crashed repeatedly while it made this video. Change the request.")
                await self._store.finish(job_id, wire_error(error))
