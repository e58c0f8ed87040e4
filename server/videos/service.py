"""Video jobs: rows before any work, queued per model, worked on once at a time, kept until they expire.

A job is acknowledged once its row is committed. From there on it is this server's to finish, whatever kills it:
`Tending` hands every unfinished row to the queue, at each start and after each create, and the queue knows which it
has.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from adapters.base import Media, VideoRequest
from adapters.errors import GenerationFailed
from adapters.pool.pool import Pool
from compat.errors import RequestError
from compat.videos.plan import Plan
from compat.videos.replies import Status, VideoState
from compat.wire import new_id
from server.videos.events import JobEvents
from server.videos.files import FILM, ID, SHEET, THUMBNAIL, JobFiles
from server.videos.queue import JobQueue, Work
from server.videos.reconciler import Tending
from server.videos.render import Films
from server.videos.runner import JobWork
from server.videos.state import Doors, Receipt, not_found, whole
from server.videos.store import JobStore
from server.videos.tables import Job

AT_ONCE = 4
"""Requests of one owner whose bodies are taken in at the same time."""
FILES = {"video": FILM, "thumbnail": THUMBNAIL, "spritesheet": SHEET}


class VideoJobs:
    """All video jobs of this server."""

    def __init__(
        self,
        pool: Pool,
        store: JobStore,
        files: JobFiles,
        queue: Callable[[str, Work], JobQueue],
        events: JobEvents | None = None,
        *,
        max_owner_bytes: int = 2**63,
    ) -> None:
        """No work yet.

        Args:
            pool: Where the models are.
            store: Where the rows are.
            files: Where the files are.
            queue: Makes the queue, of the server's name and of what a step is.
            events: Where the store notes whom to tell of jobs' ends; None: nobody.
            max_owner_bytes: What the unfinished jobs of one owner may be made of, all together.
        """
        self.doors = Doors(AT_ONCE)
        """Whoever makes a job holds one while its request is read."""
        self._max_owner_bytes = max_owner_bytes
        self._store = store
        self._files = files
        self._films = Films(pool, files)
        self._work = JobWork(self._films, store, lambda: self._tending.wake())
        self._queue = queue(files.server, self._work.step)
        self._tending = Tending(store, files, self._queue, self._work, events)

    async def known(self, owner: str, receipt: Receipt) -> VideoState | None:
        """The job that a request has made already, if it has. Raises as `JobStore.made_before`."""
        made = await self._store.made_before(
            owner, receipt.fingerprint, retry_key=receipt.retry_key, is_retry=receipt.is_retry
        )
        return None if made is None else self._work.shown(made)

    async def create(
        self,
        owner: str,
        model: str,
        plan: Plan,
        headline: VideoRequest,
        receipt: Receipt,
        files: Mapping[str, Path],
    ) -> VideoState:
        """A queued job; it, its pictures and its files are on disk before any work starts.

        Args:
            owner: Whose it is.
            model: Who films it.
            plan: Its shots; their pictures are copied.
            headline: What is told of it.
            receipt: What tells the request from others.
            files: What it is made of, by its name in the job's folder; whole and flushed, and never changed again.

        Raises:
            RequestError: 429 or 503, too many are waiting already; 503, no room; 400, the key is another request's.
        """
        job_id = new_id("video_")
        try:
            for name, path in files.items():
                await self._files.copy(job_id, name, path)
            plan = await self._with_pictures_kept(job_id, plan)
            await self._refuse_too_much(owner, job_id)
            state = VideoState(job_id, model, headline, 0, remixed_from_video_id=plan.remixed_from)
            job = Job(owner, self._files.server, receipt.fingerprint, plan, state)
            kept = await whole(self._store.insert(job, retry_key=receipt.retry_key, is_retry=receipt.is_retry))
        except BaseException:
            await asyncio.shield(self._files.remove(job_id))
            raise
        if kept.state.id != job_id:  # another request with this key was faster
            await self._files.remove(job_id)
        self._tending.wake()
        return self._work.shown(kept)

    async def get(self, owner: str, video_id: str) -> Job:
        """A job of this owner.

        Raises:
            RequestError: 404, for another's job too; 503.
        """
        job = await self._store.get(video_id, owner) if ID.fullmatch(video_id) else None
        if job is None:
            raise not_found()
        return replace(job, state=self._work.shown(job))

    async def completed(self, owner: str, video_id: str) -> Job:
        """A job of this owner whose film is there, to be worked on further.

        Raises:
            RequestError: As `get`; 400, it is not completed.
        """
        job = await self.get(owner, video_id)
        if job.state.status != "completed" or self.place(job, FILM) is None:
            raise RequestError(
                f"The video is {job.state.status}; it must be completed.", param="video", code="video_not_ready"
            )
        return job

    def with_pictures(self, job: Job) -> Plan:
        """A job's plan, with its pictures where they can be read."""
        return self._files.resolved(job.state.id, job.plan)

    def place(self, job: Job, name: str) -> Path | None:
        """Where a file of a job is; None where it is not, or not on this server."""
        return self._files.place(job.state.id, name) if self._files.has(job.state.id, name) else None

    async def content(self, job: Job, variant: str) -> Path | None:
        """Where what is to be seen of a completed job is; None where there is nothing, or not on this server.

        Raises:
            GenerationFailed: No sheet could be made of the film.
            RequestError: 503, there is no room for it.
        """
        if job.state.status != "completed" or self.place(job, FILM) is None:
            return None
        if variant == "spritesheet":
            try:
                await self._films.sheet(job)
            except GenerationFailed:
                if self.place(job, FILM) is not None:  # else it was deleted meanwhile
                    raise
        return self.place(job, FILES[variant])

    async def page(
        self, owner: str, *, after: str | None, limit: int, newest_first: bool
    ) -> tuple[list[VideoState], bool]:
        """Up to `limit` jobs of this owner behind the one named, and whether there are more."""
        found = await self._store.page(owner, after, limit + 1, newest_first=newest_first)
        if found is None:
            raise not_found()
        return [self._work.shown(job) for job in found[:limit]], len(found) > limit

    async def delete(self, owner: str, video_id: str) -> None:
        """Removes a job and its files; a running one is stopped within a step.

        Raises:
            RequestError: 404; 503.
        """
        if not ID.fullmatch(video_id) or not await self._store.delete(video_id, owner):
            raise not_found()
        await asyncio.shield(self._tending.discard(video_id))

    async def count(self) -> dict[Status, int]:
        """Jobs by status.

        Raises:
            RequestError: 503.
        """
        found = await self._store.count()
        running = self._work.running
        waiting = max(0, found.get("queued", 0) + found.get("in_progress", 0) - running)
        ended: dict[Status, int] = {
            "completed": found.get("completed", 0),
            "failed": found.get("failed", 0),
        }
        return {"queued": waiting, "in_progress": running, **ended}

    async def tend(self) -> None:
        """Hands jobs to the queue and removes what has expired; runs for as long as the server does."""
        await self._tending.run()

    async def aclose(self) -> None:
        """Stops all work, to be taken up again by the next start."""
        closing = asyncio.create_task(self._queue.aclose())
        await self._work.aclose()
        await closing
        self._files.release()

    async def _refuse_too_much(self, owner: str, job_id: str) -> None:
        """Raises `RequestError` 429, when a new job and the unfinished ones of its owner are made of too much."""
        waiting = await self._store.unfinished(self._files.server, owner)
        if await asyncio.to_thread(self._files.held_bytes, [*waiting, job_id]) > self._max_owner_bytes:
            raise RequestError(
                f"What the waiting videos of this key are made of would be more than {self._max_owner_bytes} bytes.",
                code="queue_full",
                status=429,
                headers={"Retry-After": "30"},
            )

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
