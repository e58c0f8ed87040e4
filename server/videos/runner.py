"""Running the steps of video jobs: reporting progress, recording results, and stopping at any moment."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from adapters.base import VideoRequest
from compat.errors import RequestError, WireError
from compat.videos.replies import Status, VideoState
from server.http.errors import to_wire_error
from server.videos.queue import ASSEMBLE
from server.videos.render import VideoRenderer
from server.videos.store import JobStore
from server.videos.tables import Job

log = logging.getLogger(__name__)
T = TypeVar("T")

WRITE_S = 1.0
"""The shortest time between two writes of a job's progress."""
RETRY_S = 1.0


class JobDeleted(Exception):
    """The job was deleted while it was running."""


@dataclass(slots=True)
class RunningJob:
    """A job of which a step is running."""

    task: asyncio.Task[bool]
    status: Status | None = None
    progress: int = 0
    written_at: float = 0.0


class JobRunner:
    """Runs the steps of jobs in this process."""

    def __init__(self, renderer: VideoRenderer, store: JobStore, on_end: Callable[[], None]) -> None:
        """Starts without any job.

        Args:
            renderer: Makes the files.
            store: Holds the rows.
            on_end: Called when a job has ended.
        """
        self._renderer = renderer
        self._store = store
        self._on_end = on_end
        self._running: dict[str, RunningJob] = {}
        self._closing = False

    @property
    def running(self) -> int:
        """The number of jobs that a model works on."""
        return sum(job.status == "in_progress" for job in self._running.values())

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._running

    def current_state(self, job: Job) -> VideoState:
        """A job's state, with the latest progress if it is running here."""
        running = self._running.get(job.state.id)
        if running is None or running.status is None or job.finished:
            return job.state
        return replace(job.state, status=running.status, progress=running.progress)

    async def stop(self, job_id: str) -> None:
        """Cancels the step of a job, and waits until it has ended."""
        if (running := self._running.get(job_id)) is not None:
            await _cancel(running)

    async def aclose(self) -> None:
        """Cancels all steps. Jobs that are stopped from here on have not failed."""
        self._closing = True
        await asyncio.gather(*(_cancel(running) for running in list(self._running.values())))

    async def step(self, job_id: str, index: int) -> bool:
        """Runs a step of a job, for the queue. Returns whether further steps follow."""
        running = self._running[job_id] = RunningJob(asyncio.create_task(self._step(job_id, index)))
        try:
            await asyncio.wait([running.task])
        finally:
            del self._running[job_id]
        return not running.task.cancelled() and running.task.result()

    async def _step(self, job_id: str, index: int) -> bool:
        result: tuple[VideoRequest, float] | WireError
        job = await self._until_database_works(lambda: self._store.get(job_id))
        if job is None or job.finished or self._closing:
            return False
        running = self._running[job_id]
        running.progress = job.state.progress

        async def progress(percent: int) -> None:
            running.progress = max(running.progress, percent) if index else percent
            await self._report(job_id, running)

        try:
            if index != ASSEMBLE:
                await self._renderer.render_shot(job, index, progress)
                running.written_at = 0.0
                await self._report(job_id, running)
                return True
            running.status = "in_progress"
            result = await self._renderer.assemble(job)
        except JobDeleted:
            return False
        except Exception as error:
            if self._closing:
                return False  # the server stops the models: the job has not failed
            result = to_wire_error(error)
        await self._until_database_works(lambda: self._store.finish(job_id, result))
        if isinstance(result, WireError):
            await self._renderer.discard(job_id)
        self._on_end()
        return False

    async def _report(self, job_id: str, running: RunningJob) -> None:
        """Records that a job is in progress: at once when it starts, and then at most once per `WRITE_S`."""
        starts, running.status = running.status is None, "in_progress"
        if not starts and time.monotonic() - running.written_at < WRITE_S:
            return
        running.written_at = time.monotonic()
        try:
            if not await self._store.advance(job_id, "in_progress", running.progress):
                raise JobDeleted
        except RequestError as error:  # the database fails: rendering goes on
            log.warning("the progress of %s was not written: %s", job_id, error.message)

    async def _until_database_works(self, query: Callable[[], Awaitable[T]]) -> T:
        """The result of a query, repeated until the database works."""
        while True:
            try:
                return await query()
            except RequestError as error:
                log.warning("the state of a video could not be read or written: %s", error.message)
                await asyncio.sleep(RETRY_S)


async def _cancel(running: RunningJob) -> None:
    running.task.cancel()
    await asyncio.wait([running.task])
