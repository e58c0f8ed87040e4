"""The table of video jobs, and the conversion between rows and objects."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Column, Double, Index, Integer, LargeBinary, String, Table

from adapters.base import VideoRequest
from compat.errors import WireError
from compat.videos.plan import Plan
from compat.videos.replies import VideoState
from server.storage.database import METADATA

UNFINISHED = ("queued", "in_progress")

jobs = Table(
    "video_jobs",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("server", String(64), nullable=False),
    Column("model", String(256), nullable=False),
    Column("status", String(16), nullable=False),
    Column("progress", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("completed_at", Double),
    Column("expires_at", Double, index=True),
    Column("retry_key", String(64)),
    Column("fingerprint", String(64), nullable=False),
    Column("generation_ms", Double),
    Column("plan", LargeBinary, nullable=False),
    Column("headline", LargeBinary, nullable=False),
    Column("error", LargeBinary),
    Index("video_jobs_by_owner", "owner", "created_at"),
    Index("video_jobs_by_key", "owner", "retry_key", unique=True),
    Index("video_jobs_by_status", "status", "server"),
)


@dataclass(frozen=True, slots=True)
class Job:
    """A stored video job."""

    owner: str
    server: str
    """The name of the server whose data directory has its files."""
    fingerprint: str
    """The fingerprint of the request that created it."""
    plan: Plan
    state: VideoState

    @property
    def finished(self) -> bool:
        """Whether it is completed or failed."""
        return self.state.status not in UNFINISHED


def job_of(row: Any) -> Job:
    """Converts a row of `jobs`."""
    plan = msgspec.json.decode(row.plan, type=Plan)
    state = VideoState(
        id=row.id,
        model=row.model,
        request=msgspec.json.decode(row.headline, type=VideoRequest),
        created_at=int(row.created_at),
        status=row.status,
        progress=row.progress,
        completed_at=None if row.completed_at is None else int(row.completed_at),
        expires_at=None if row.expires_at is None else int(row.expires_at),
        error=None if row.error is None else msgspec.json.decode(row.error, type=WireError),
        generation_ms=row.generation_ms,
        remixed_from_video_id=plan.remixed_from,
    )
    return Job(row.owner, row.server, row.fingerprint, plan, state)


def values_of(job: Job, retry_key: str | None, created_at: float) -> dict[str, Any]:
    """Converts a new job into the values of a row."""
    plan = msgspec.json.encode(job.plan)
    return {
        "id": job.state.id,
        "owner": job.owner,
        "server": job.server,
        "model": job.state.model,
        "status": job.state.status,
        "progress": 0,
        "created_at": created_at,
        "retry_key": retry_key,
        "fingerprint": job.fingerprint,
        "plan": plan,
        "headline": msgspec.json.encode(replace(job.state.request, keyframes=())),
    }
