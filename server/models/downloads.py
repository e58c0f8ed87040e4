"""Downloads of models: one at a time per model, a few at once, in memory. Downloaded files outlive the download.

A download has no owner: all admins see all of them, and a second request for the same model returns the same download.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from adapters.base import LoadProgress, Report
from compat import sse
from compat.errors import RequestError
from compat.model_files import DownloadStatus, ModelDownload, render_download
from compat.wire import new_id

log = logging.getLogger(__name__)
CONCURRENT_DOWNLOADS = 2
"""More would only share the same bandwidth."""
Fetch = Callable[[Report], Awaitable[Any]]
"""Downloads a model's files, and reports its progress."""


@dataclass(slots=True)
class Download:
    """One download and its task."""

    model: str
    id: str = field(default_factory=lambda: new_id("download_"))
    status: DownloadStatus = "queued"
    progress: LoadProgress | None = None
    error: Exception | None = None
    created_at: int = field(default_factory=lambda: int(time.time()))
    completed_at: int | None = None
    task: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at the next change, and then replaced by a new event."""

    def notify(self) -> None:
        """Wakes all followers."""
        self.changed.set()
        self.changed = asyncio.Event()

    def render(self) -> ModelDownload:
        """The wire object."""
        return render_download(
            self.id,
            self.model,
            self.status,
            progress=self.progress,
            created_at=self.created_at,
            completed_at=self.completed_at,
            error=self.error,
        )


class DownloadManager:
    """The newest download of each model."""

    def __init__(self) -> None:
        """Starts without any download."""
        self._jobs: dict[str, Download] = {}
        self._slots = asyncio.Semaphore(CONCURRENT_DOWNLOADS)

    def start(self, model: str, fetch: Fetch) -> Download:
        """Starts a download of a model, or returns the one that is running."""
        job = self._jobs.get(model)
        if job is None or job.completed_at is not None:
            job = self._jobs[model] = Download(model)
            job.task = asyncio.create_task(self._run(job, fetch))
        return job

    def get(self, model: str) -> Download:
        """The newest download of a model.

        Raises:
            RequestError: 404, there was none since the server started.
        """
        if model not in self._jobs:
            raise RequestError(
                f"There is no download of the model {model!r}. Start one with POST /v1/models/{model}/download.",
                code="download_not_found",
                status=404,
            )
        return self._jobs[model]

    async def cancel(self, model: str) -> Download:
        """Cancels a download. One that has ended is not changed.

        Raises:
            RequestError: 404, there was none since the server started.
        """
        job = self.get(model)
        await self._stop(job)
        return job

    async def aclose(self) -> None:
        """Stops all downloads."""
        await asyncio.gather(*(self._stop(job) for job in self._jobs.values()))

    @staticmethod
    async def follow(job: Download) -> AsyncGenerator[bytes]:
        """The progress of a download as frames, from now to its end; then `[DONE]`, or the error."""
        while True:
            changed = job.changed
            if job.error is not None:
                raise job.error
            yield sse.frame(job.render())
            if job.completed_at is not None:
                yield sse.DONE
                return
            await changed.wait()

    @staticmethod
    async def _stop(job: Download) -> None:
        if job.task is not None and not job.task.done():
            job.task.cancel()
            await asyncio.wait([job.task])
        if job.completed_at is None:  # it was never started
            job.status, job.completed_at = "cancelled", int(time.time())
            job.notify()

    async def _run(self, job: Download, fetch: Fetch) -> None:
        def report(progress: LoadProgress) -> None:
            job.progress = progress
            job.notify()

        try:
            async with self._slots:
                job.status = "in_progress"
                job.notify()
                await fetch(report)
            job.status = "completed"
        except asyncio.CancelledError:
            job.status = "cancelled"
            raise
        except Exception as error:
            job.status, job.error = "failed", error
            log.warning("downloading %s failed: %s", job.model, error)
        finally:
            job.completed_at = int(time.time())
            job.notify()
