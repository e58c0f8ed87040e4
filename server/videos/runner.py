"""Video jobs while they are worked on: one step after another, told of as it goes, and stopped at any moment."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from adapters.base import VideoRequest
from compat.errors import RequestError, WireError
from compat.videos.replies import VideoState
from server.http.errors import as_wire
from server.videos.queue import LAST
from server.videos.render import Films
from server.videos.state import Gone, Live, stop
from server.videos.store import JobStore
from server.videos.tables import Job

log = logging.getLogger(__name__)
T = TypeVar("T")

WRITE_S = 1.0
"""Progress is written so often, and told of as it is."""
RETRY_S = 1.0


class JobWork:
    """What this process films at this moment."""

    def __init__(self, films: Films, store: JobStore, ended: Callable[[], None]) -> None:
        """Nothing is filmed yet.

        Args:
            films: Makes the files.
            store: Where the rows are.
            ended: Is called when a job has ended.
        """
        self._films = films
        self._store = store
        self._ended = ended
        self._live: dict[str, Live] = {}
        self._closing = False

    @property
    def running(self) -> int:
        """How many jobs a model works on."""
        return sum(live.status == "in_progress" for live in self._live.values())

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._live

    def shown(self, job: Job) -> VideoState:
        """A job's state as it is at this moment, where it is worked on here."""
        live = self._live.get(job.state.id)
        if live is None or live.status is None or job.finished:
            return job.state
        return replace(job.state, status=live.status, progress=live.progress)

    async def stop(self, job_id: str) -> None:
        """Ends the work on a job, and waits until it has ended."""
        if (live := self._live.get(job_id)) is not None:
            await stop(live)

    async def aclose(self) -> None:
        """Ends all work; what is stopped from here on has not failed."""
        self._closing = True
        await asyncio.gather(*(stop(live) for live in list(self._live.values())))

    async def step(self, job_id: str, index: int) -> bool:
        """A step of a job, for the queue: whether there is more to do."""
        live = self._live[job_id] = Live(asyncio.create_task(self._step(job_id, index)))
        try:
            await asyncio.wait([live.task])
        finally:
            del self._live[job_id]
        return not live.task.cancelled() and live.task.result()

    async def _step(self, job_id: str, index: int) -> bool:
        ended: tuple[VideoRequest, float] | WireError
        job = await self._insist(lambda: self._store.get(job_id))
        if job is None or job.finished or self._closing:
            return False
        live = self._live[job_id]
        live.progress = job.state.progress

        async def progress(percent: int) -> None:
            live.progress = max(live.progress, percent) if index else percent
            await self._tell(job_id, live)

        try:
            if index != LAST:
                await self._films.shoot(job, index, progress)
                live.written_at = 0.0
                await self._tell(job_id, live)
                return True
            live.status = "in_progress"
            ended = await self._films.finish(job)
        except Gone:
            return False
        except Exception as error:
            if self._closing:
                return False  # models are being ended around us: this is no failure of the job's
            ended = as_wire(error)
        await self._insist(lambda: self._store.finish(job_id, ended))
        if isinstance(ended, WireError):
            await self._films.discard(job_id)
        self._ended()
        return False

    async def _tell(self, job_id: str, live: Live) -> None:
        """Notes progress; writes it down now and then, and when the work begins."""
        begins, live.status = live.status is None, "in_progress"
        if not begins and time.monotonic() - live.written_at < WRITE_S:
            return
        live.written_at = time.monotonic()
        try:
            if not await self._store.advance(job_id, "in_progress", live.progress):
                raise Gone
        except RequestError as error:  # the database fails: that is no reason to stop filming
            log.warning("progress of %s was not written: %s", job_id, error.message)

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the database says, once it works."""
        while True:
            try:
                return await ask()
            except RequestError as error:
                log.warning("the database does not take the state of a video: %s", error.message)
                await asyncio.sleep(RETRY_S)
