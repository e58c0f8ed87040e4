"""What routes need beside the request: one object, handed to them by Litestar's dependency injection."""

from dataclasses import dataclass
from typing import Any

from litestar import Request

from adapters.pool import Pool
from server.artifacts import Artifacts
from server.bodies import Intake
from server.jobs import VideoJobs
from server.metrics import Metrics
from server.settings import Settings

AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Services:
    """The server's parts."""

    settings: Settings
    pool: Pool
    intake: Intake
    artifacts: Artifacts
    jobs: VideoJobs
    metrics: Metrics
    started: int
    """Unix time."""


def owner_of(request: AnyRequest) -> str:
    """Whose request it is, as `server/auth.py` found."""
    return request.scope["state"]["owner"]
