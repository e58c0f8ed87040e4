"""Video jobs: queued per model, run one at a time, kept until they expire. In memory: a restart forgets them."""

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from adapters.base import GeneratedVideo, Step, VideoAdapter, VideoRequest
from adapters.pool import Pool
from compat.errors import RequestError, WireError
from compat.videos import Status, VideoState
from compat.wire import new_id
from server.artifacts import Artifacts
from server.errors import as_wire

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Job:
    """A video job, its task and its files."""

    owner: str
    state: VideoState
    task: asyncio.Task[None] | None = None
    files: dict[str, str] = field(default_factory=dict[str, str])
    """Artifact names by variant: "video", "thumbnail"."""


class VideoJobs:
    """All video jobs of this server."""

    def __init__(self, pool: Pool, artifacts: Artifacts, *, expire_s: float, max_unfinished: int) -> None:
        """No jobs yet.

        Args:
            pool: Where the models are.
            artifacts: Where finished files go.
            expire_s: How long a finished job and its files are kept.
            max_unfinished: Queued and running jobs together; one more is refused.
        """
        self._pool = pool
        self._artifacts = artifacts
        self._expire_s = expire_s
        self._max_unfinished = max_unfinished
        self._jobs: dict[str, Job] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    def create(self, owner: str, model: str, request: VideoRequest) -> VideoState:
        """A queued job; it exists before any work starts.

        Raises:
            RequestError: 503, when too many are waiting already.
        """
        if sum(job.state.completed_at is None for job in self._jobs.values()) >= self._max_unfinished:
            raise RequestError(
                "Too many videos are waiting.", code="queue_full", status=503, headers={"Retry-After": "30"}
            )
        state = VideoState(new_id("video_"), model, request, int(time.time()))
        job = self._jobs[state.id] = Job(owner, state)
        job.task = asyncio.create_task(self._run(job))
        return state

    def get(self, owner: str, video_id: str) -> Job:
        """A job of this owner.

        Raises:
            RequestError: 404, for another's job too.
        """
        job = self._jobs.get(video_id)
        if job is None or job.owner != owner:
            raise RequestError("There is no video of that id.", code="video_not_found", param="video_id", status=404)
        return job

    def page(self, owner: str, *, after: str | None, limit: int, newest_first: bool) -> tuple[list[VideoState], bool]:
        """Up to `limit` jobs of this owner behind the one named, and whether there are more."""
        own = [job.state for job in self._jobs.values() if job.owner == owner]
        if newest_first:
            own.reverse()
        if after is not None:
            self.get(owner, after)
            own = own[next(index for index, state in enumerate(own) if state.id == after) + 1 :]
        return own[:limit], len(own) > limit

    async def delete(self, owner: str, video_id: str) -> None:
        """Removes a job and its files; a running one is stopped within a step.

        Raises:
            RequestError: 404.
        """
        job = self.get(owner, video_id)
        del self._jobs[video_id]
        await self._stop(job)
        await self._artifacts.remove(*job.files.values())

    async def expire(self) -> None:
        """Removes jobs, with their files, that finished too long ago."""
        now = time.time()
        for job in [job for job in self._jobs.values() if job.state.expires_at and job.state.expires_at < now]:
            await self.delete(job.owner, job.state.id)

    async def aclose(self) -> None:
        """Stops all jobs."""
        await asyncio.gather(*(self._stop(job) for job in self._jobs.values()))

    def count(self) -> dict[Status, int]:
        """Jobs by status."""
        counts: dict[Status, int] = {"queued": 0, "in_progress": 0, "completed": 0, "failed": 0}
        for job in self._jobs.values():
            counts[job.state.status] += 1
        return counts

    @staticmethod
    async def _stop(job: Job) -> None:
        if job.task is not None and not job.task.done():
            job.task.cancel()
            await asyncio.wait([job.task])

    async def _run(self, job: Job) -> None:
        try:
            async with self._turns.setdefault(job.state.model, asyncio.Lock()):  # first come, first served
                await self._film(job)
        except Exception as error:
            self._finish(job, "failed", error=as_wire(error))

    async def _film(self, job: Job) -> None:
        async with self._pool.lease(job.state.model, VideoAdapter) as adapter:
            job.state = replace(job.state, status="in_progress")
            async with aclosing(adapter.generate(job.state.request)) as events:
                async for event in events:
                    if isinstance(event, Step):
                        job.state = replace(job.state, progress=int(event.step / event.total * 99))
                    else:
                        await self._keep(job, event)

    async def _keep(self, job: Job, made: GeneratedVideo) -> None:
        job.files["video"] = await self._artifacts.save(made.video)
        job.files["thumbnail"] = await self._artifacts.save(made.thumbnail)
        request = replace(
            job.state.request,
            width=made.width,
            height=made.height,
            num_frames=made.num_frames,
            fps=made.fps,
            seed=made.seed,
        )
        job.state = replace(job.state, request=request, progress=100, generation_ms=made.generation_ms)
        self._finish(job, "completed")

    def _finish(self, job: Job, status: Status, error: WireError | None = None) -> None:
        now = time.time()
        job.state = replace(
            job.state,
            request=replace(job.state.request, keyframes=()),  # megabytes, of no use to anyone from here on
            status=status,
            error=error,
            completed_at=int(now),
            expires_at=int(now + self._expire_s),
        )
