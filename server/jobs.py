"""Video jobs: rows before any work, queued per model, worked on once at a time, kept until they expire.

A job is acknowledged once its row is committed. From there on it is this server's to finish, whatever kills it: `tend`
hands every unfinished row to the queue, at each start and soon after each create, and the queue knows which it has.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from adapters.base import Media, VideoRequest
from adapters.errors import Interrupted
from adapters.pool import Pool
from compat.errors import RequestError, WireError, wire_error
from compat.video_plans import Plan
from compat.videos import Status, VideoState
from compat.wire import new_id
from server.errors import as_wire
from server.jobs_files import FILM, ID, THUMBNAIL, JobFiles, clip
from server.jobs_films import Films
from server.jobs_live import Gone, Live, Receipt, not_found, stop, whole
from server.jobs_queue import LAST, JobQueue, Work
from server.jobs_store import JobStore
from server.jobs_tables import Job

log = logging.getLogger(__name__)
T = TypeVar("T")

TICK_S = 2.0
SWEEP_S = 60.0
WRITE_S = 1.0
"""Progress is written so often, and told of as it is."""
RETRY_S = 1.0
FILES = {"video": FILM, "thumbnail": THUMBNAIL}


class VideoJobs:
    """All video jobs of this server."""

    def __init__(self, pool: Pool, store: JobStore, files: JobFiles, queue: Callable[[str, Work], JobQueue]) -> None:
        """No work yet.

        Args:
            pool: Where the models are.
            store: Where the rows are.
            files: Where the files are.
            queue: Makes the queue, of the server's name and of what a step is.
        """
        self._store = store
        self._files = files
        self._films = Films(pool, files)
        self._queue = queue(files.server, self._work)
        self._live: dict[str, Live] = {}
        self._queued: set[str] = set()
        """What this process has handed to the queue."""
        self._ended: set[str] = set()
        """What the queue may forget."""
        self._wake = asyncio.Event()
        self._swept_at = -SWEEP_S
        self._started = time.time()
        """Folders from before belong to rows, or to nobody."""
        self._closing = False

    async def known(self, owner: str, receipt: Receipt) -> VideoState | None:
        """The job that a request has made already, if it has. Raises as `JobStore.made_before`."""
        made = await self._store.made_before(
            owner, receipt.fingerprint, retry_key=receipt.retry_key, is_retry=receipt.is_retry
        )
        return None if made is None else self._shown(made)

    async def create(
        self, owner: str, model: str, plan: Plan, headline: VideoRequest, receipt: Receipt, *, source: str | None = None
    ) -> VideoState:
        """A queued job; it and its pictures are on disk before any work starts.

        Args:
            owner: Whose it is.
            model: Who films it.
            plan: Its shots; their pictures are copied.
            headline: What is told of it.
            receipt: What tells the request from others.
            source: The completed video whose film is the first shot, where that one exists already.

        Raises:
            RequestError: 429 or 503, too many are waiting already; 503, no room; 400, the key is another request's.
        """
        job_id = new_id("video_")
        try:
            if source is not None:
                await self._files.copy(job_id, clip(0), self._files.place(source, FILM))
                await self._files.copy(job_id, "clip-0.png", self._files.place(source, THUMBNAIL))
            plan = await self._with_pictures_kept(job_id, plan)
            state = VideoState(job_id, model, headline, 0, remixed_from_video_id=plan.remixed_from)
            job = Job(owner, self._files.server, receipt.fingerprint, plan, state)
            kept = await whole(self._store.insert(job, retry_key=receipt.retry_key, is_retry=receipt.is_retry))
        except BaseException:
            await asyncio.shield(self._files.remove(job_id))
            raise
        if kept.state.id != job_id:  # another request with this key was faster
            await self._files.remove(job_id)
        self._wake.set()
        return self._shown(kept)

    async def get(self, owner: str, video_id: str) -> Job:
        """A job of this owner.

        Raises:
            RequestError: 404, for another's job too; 503.
        """
        job = await self._store.get(video_id, owner) if ID.fullmatch(video_id) else None
        if job is None:
            raise not_found()
        return replace(job, state=self._shown(job))

    async def completed(self, owner: str, video_id: str) -> Job:
        """A job of this owner whose film is there, to be worked on further.

        Raises:
            RequestError: As `get`; 400, it is not completed.
        """
        job = await self.get(owner, video_id)
        if not self.path(job, "video"):
            raise RequestError(
                f"The video is {job.state.status}; it must be completed.", param="video", code="video_not_ready"
            )
        return job

    def with_pictures(self, job: Job) -> Plan:
        """A job's plan, with its pictures where they can be read."""
        return self._files.resolved(job.state.id, job.plan)

    def path(self, job: Job, variant: str) -> str:
        """Where a completed job's file is; empty where it is not on this server."""
        name = FILES[variant]
        if job.state.status != "completed" or not self._files.has(job.state.id, name):
            return ""
        return str(self._files.place(job.state.id, name))

    async def page(
        self, owner: str, *, after: str | None, limit: int, newest_first: bool
    ) -> tuple[list[VideoState], bool]:
        """Up to `limit` jobs of this owner behind the one named, and whether there are more."""
        found = await self._store.page(owner, after, limit + 1, newest_first=newest_first)
        if found is None:
            raise not_found()
        return [self._shown(job) for job in found[:limit]], len(found) > limit

    async def delete(self, owner: str, video_id: str) -> None:
        """Removes a job and its files; a running one is stopped within a step.

        Raises:
            RequestError: 404; 503.
        """
        if not ID.fullmatch(video_id) or not await self._store.delete(video_id, owner):
            raise not_found()
        await asyncio.shield(self._discard(video_id))

    async def count(self) -> dict[Status, int]:
        """Jobs by status.

        Raises:
            RequestError: 503.
        """
        found = await self._store.count()
        running = sum(live.status == "in_progress" for live in self._live.values())
        waiting = max(0, found.get("queued", 0) + found.get("in_progress", 0) - running)
        ended: dict[Status, int] = {
            "completed": found.get("completed", 0),
            "failed": found.get("failed", 0),
        }
        return {"queued": waiting, "in_progress": running, **ended}

    async def tend(self) -> None:
        """Hands jobs to the queue and removes what has expired; runs for as long as the server does."""
        claimed = False
        while True:
            self._wake.clear()
            try:
                # Two servers of one data directory: one works, and the other's creates reach it through the database.
                if not claimed and await asyncio.to_thread(self._files.claim):
                    await self._store.requeue(self._files.server)
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

    async def aclose(self) -> None:
        """Stops all work, to be taken up again by the next start."""
        self._closing = True
        closing = asyncio.create_task(self._queue.aclose())
        await asyncio.gather(*(stop(live) for live in list(self._live.values())))
        await closing
        self._files.release()

    async def _tend(self) -> None:
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
        if ended := self._ended - self._live.keys():
            await self._queue.forget(sorted(ended))
            self._ended -= ended
        for job_id in await self._store.expire(self._files.server):
            await self._discard(job_id)
        if time.monotonic() - self._swept_at >= SWEEP_S:
            # Folders of requests that a killed server never acknowledged, and of jobs that it was about to remove.
            folders = await asyncio.to_thread(self._files.folders, max(self._started, time.time() - SWEEP_S))
            known = await self._store.ids(self._files.server)
            await self._files.remove(*(folders - known))
            self._swept_at = time.monotonic()

    async def _discard(self, job_id: str) -> None:
        """Ends and removes what a job without a row still has."""
        if (live := self._live.get(job_id)) is not None:
            await stop(live)
        await self._files.remove(job_id)
        self._queued.discard(job_id)
        self._ended.add(job_id)

    async def _work(self, job_id: str, index: int) -> bool:
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

    async def _with_pictures_kept(self, job_id: str, plan: Plan) -> Plan:
        """The plan with all pictures as files of the job; one that several shots share is one file."""
        kept: dict[Media, Media] = {}
        shots = list(plan.shots)
        for number, shot in enumerate(shots):
            if shot.request is None:
                continue
            keyframes = list(shot.request.keyframes)
            for at, keyframe in enumerate(keyframes):
                picture = keyframe.image
                if picture not in kept:
                    kept[picture] = await self._files.keep(job_id, len(kept), picture)
                keyframes[at] = replace(keyframe, image=kept[picture])
            shots[number] = replace(shot, request=replace(shot.request, keyframes=tuple(keyframes)))
        return replace(plan, shots=tuple(shots))

    def _shown(self, job: Job) -> VideoState:
        """A job's state as it is at this moment, where it is worked on here."""
        live = self._live.get(job.state.id)
        if live is None or live.status is None or job.finished:
            return job.state
        return replace(job.state, status=live.status, progress=live.progress)
