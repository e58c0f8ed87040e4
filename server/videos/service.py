"""The video jobs of this server: creating, listing, reading and deleting them.

A job is acknowledged once its row is committed. From then on this server finishes it, whatever interrupts it:
`Reconciler` hands every unfinished row to the queue, at each start and after each create, and the queue knows which
ones it has.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from adapters.base import Media, VideoRequest
from adapters.errors import GenerationFailed
from adapters.pool.pool import Pool
from compat.errors import RequestError
from compat.videos.plan import Plan
from compat.videos.replies import Status, VideoState
from compat.wire import new_id
from server.storage.pages import CursorNotFound
from server.videos.events import JobEvents
from server.videos.files import ID, SPRITESHEET, THUMBNAIL, VIDEO, JobFiles
from server.videos.idempotency import IdempotencyKey
from server.videos.queue import JobQueue, RunStep
from server.videos.reconciler import Reconciler
from server.videos.render import VideoRenderer
from server.videos.runner import JobRunner
from server.videos.store import JobStore
from server.videos.tables import Job

T = TypeVar("T")

FILES = {"video": VIDEO, "thumbnail": THUMBNAIL, "spritesheet": SPRITESHEET}


class VideoJobs:
    """All video jobs of this server."""

    def __init__(
        self,
        pool: Pool,
        store: JobStore,
        files: JobFiles,
        queue: Callable[[str, RunStep], JobQueue],
        events: JobEvents | None = None,
        *,
        max_owner_bytes: int = 2**63,
    ) -> None:
        """Starts no work yet.

        Args:
            pool: The models.
            store: Holds the rows.
            files: Holds the files.
            queue: Creates the queue, from the server's name and the function that runs a step.
            events: The webhook events that the store records; None when no webhooks are sent.
            max_owner_bytes: The largest total size of the files of one owner's unfinished jobs.
        """
        """A create request holds a slot while its body is read."""
        self._max_owner_bytes = max_owner_bytes
        self._store = store
        self._files = files
        self._renderer = VideoRenderer(pool, files)
        self._runner = JobRunner(self._renderer, store, lambda: self._reconciler.wake())
        self._queue = queue(files.server, self._runner.step)
        self._reconciler = Reconciler(store, files, self._queue, self._runner, events)

    async def find(self, owner: str, key: IdempotencyKey) -> VideoState | None:
        """The job that a request has created before, if any. Raises as `JobStore.find_duplicate`."""
        found = await self._store.find_duplicate(owner, key.fingerprint, retry_key=key.retry_key, is_retry=key.is_retry)
        return None if found is None else self._runner.current_state(found)

    async def create(
        self,
        owner: str,
        model: str,
        plan: Plan,
        headline: VideoRequest,
        key: IdempotencyKey,
        files: Mapping[str, Path],
    ) -> VideoState:
        """Creates a queued job. Its row, images and files are on disk before any work starts.

        Args:
            owner: The owner of the job.
            model: The model that renders it.
            plan: Its shots. Their images are copied.
            headline: The request as clients see it.
            key: The idempotency key of the request.
            files: Further files of the job, by their name in its folder. They are flushed and never change.

        Raises:
            RequestError: 429 or 503, too many jobs are unfinished; 503, the disk is full; 400, the idempotency key
                belongs to another request.
        """
        job_id = new_id("video_")
        try:
            for name, path in files.items():
                await self._files.copy(job_id, name, path)
            plan = await self._with_saved_images(job_id, plan)
            await self._check_quota(owner, job_id)
            state = VideoState(job_id, model, headline, 0, remixed_from_video_id=plan.remixed_from)
            job = Job(owner, self._files.server, key.fingerprint, plan, state)
            stored = await _finish_when_cancelled(
                self._store.insert(job, retry_key=key.retry_key, is_retry=key.is_retry)
            )
        except BaseException:
            await asyncio.shield(self._files.remove(job_id))
            raise
        if stored.state.id != job_id:  # a concurrent request with the same key was faster
            await self._files.remove(job_id)
        self._reconciler.wake()
        return self._runner.current_state(stored)

    async def get(self, owner: str, video_id: str) -> Job:
        """A job of this owner.

        Raises:
            RequestError: 404, the owner has no such job; 503.
        """
        job = await self._store.get(video_id, owner) if ID.fullmatch(video_id) else None
        if job is None:
            raise _not_found()
        return replace(job, state=self._runner.current_state(job))

    async def completed(self, owner: str, video_id: str) -> Job:
        """A completed job of this owner, as the source of another one.

        Raises:
            RequestError: As `get`; 400, the job is not completed, or its files are on another server.
        """
        job = await self.get(owner, video_id)
        if job.state.status != "completed" or self.path(job, VIDEO) is None:
            raise RequestError(
                f"The video {video_id} is {job.state.status}. Wait until its status is completed, then try again.",
                param="video",
                code="video_not_ready",
            )
        return job

    def with_image_paths(self, job: Job) -> Plan:
        """A job's plan, whose images have their full paths."""
        return self._files.plan_with_paths(job.state.id, job.plan)

    def path(self, job: Job, name: str) -> Path | None:
        """The path of a job's file; None when it does not exist on this server."""
        return self._files.path(job.state.id, name) if self._files.has(job.state.id, name) else None

    async def content(self, job: Job, variant: str) -> Path | None:
        """The path of a job's content; None when the job is not completed, or its files are not on this server.

        Args:
            job: The job.
            variant: A key of `FILES`.

        Raises:
            GenerationFailed: The sprite sheet could not be made.
            RequestError: 503, the disk is full.
        """
        if job.state.status != "completed" or self.path(job, VIDEO) is None:
            return None
        if variant == "spritesheet":
            try:
                await self._renderer.make_spritesheet(job)
            except GenerationFailed:
                if self.path(job, VIDEO) is not None:  # else the job was deleted meanwhile
                    raise
        return self.path(job, FILES[variant])

    async def page(
        self, owner: str, *, after: str | None, limit: int, newest_first: bool
    ) -> tuple[list[VideoState], bool]:
        """Up to `limit` jobs of this owner after the job with the id `after`, and whether there are more.

        Raises:
            RequestError: 404, the owner has no job with the id `after`; 503.
        """
        try:
            found, more = await self._store.page(owner, after, limit, newest_first=newest_first)
        except CursorNotFound:
            raise _not_found() from None
        return [self._runner.current_state(job) for job in found], more

    async def delete(self, owner: str, video_id: str) -> None:
        """Deletes a job and its files. A running job is stopped within a step of its model.

        Raises:
            RequestError: 404, the owner has no such job; 503.
        """
        if not ID.fullmatch(video_id) or not await self._store.delete(video_id, owner):
            raise _not_found()
        await asyncio.shield(self._reconciler.discard(video_id))

    async def count(self) -> dict[Status, int]:
        """The number of jobs by status.

        Raises:
            RequestError: 503.
        """
        found = await self._store.count()
        running = self._runner.running
        waiting = max(0, found.get("queued", 0) + found.get("in_progress", 0) - running)
        ended: dict[Status, int] = {
            "completed": found.get("completed", 0),
            "failed": found.get("failed", 0),
        }
        return {"queued": waiting, "in_progress": running, **ended}

    async def run(self) -> None:
        """Hands jobs to the queue and removes expired ones, for as long as the server runs."""
        await self._reconciler.run()

    async def aclose(self) -> None:
        """Stops all work. Unfinished jobs continue after the next start."""
        closing = asyncio.create_task(self._queue.aclose())
        await self._runner.aclose()
        await closing
        self._files.release()

    async def _check_quota(self, owner: str, job_id: str) -> None:
        """Raises `RequestError` 429 when the files of a new job and of its owner's unfinished jobs are too large."""
        waiting = await self._store.unfinished(self._files.server, owner)
        if await asyncio.to_thread(self._files.size_bytes, [*waiting, job_id]) > self._max_owner_bytes:
            raise RequestError(
                f"The images, audio and videos of this API key's unfinished videos would be larger than "
                f"{self._max_owner_bytes} bytes. Try again when some are done.",
                code="queue_full",
                status=429,
                headers={"Retry-After": "30"},
            )

    async def _with_saved_images(self, job_id: str, plan: Plan) -> Plan:
        """The plan with all images as files of the job. An image that several shots share is saved once."""
        saved: dict[Media, Media] = {}
        shots = list(plan.shots)
        for number, shot in enumerate(shots):
            if shot.request is None:
                continue
            keyframes = list(shot.request.keyframes)
            for at, keyframe in enumerate(keyframes):
                image = keyframe.image
                if image not in saved:
                    saved[image] = await self._files.save_image(job_id, len(saved), image)
                keyframes[at] = replace(keyframe, image=saved[image])
            shots[number] = replace(shot, request=replace(shot.request, keyframes=tuple(keyframes)))
        return replace(plan, shots=tuple(shots))


async def _finish_when_cancelled(work: Coroutine[Any, Any, T]) -> T:
    """Runs work to its end, also when the caller is cancelled meanwhile, and returns its result."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        return task.result()


def _not_found() -> RequestError:
    """The same error for a video that does not exist and for one of another owner."""
    return RequestError(
        "There is no video with that id. Send the id of one of your videos; GET /v1/videos lists them.",
        code="video_not_found",
        param="video_id",
        status=404,
    )
