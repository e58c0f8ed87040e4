"""OpenAI's schemas of video jobs and their events, and functions that build them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from adapters.base import VideoRequest
from compat.errors import RequestError, WireError
from compat.wire import Timings, WireReply

Status = Literal["queued", "in_progress", "completed", "failed"]
POLL_MS = 500


@dataclass(frozen=True, slots=True)
class VideoState:
    """The state of a video job."""

    id: str
    model: str
    request: VideoRequest
    """The request; once completed, with the size and length of the result."""
    created_at: int
    status: Status = "queued"
    progress: int = 0
    """0..100."""
    completed_at: int | None = None
    expires_at: int | None = None
    error: WireError | None = None
    generation_ms: float | None = None
    remixed_from_video_id: str | None = None


class VideoCreateError(WireReply):
    """Why a video failed."""

    code: str
    message: str


class Video(WireReply, omit_defaults=True):
    """A video job. `width`, `height`, `num_frames`, `fps`, `seed` and `timings` are extensions."""

    id: str
    object: str
    created_at: int
    model: str
    status: Status
    progress: int
    prompt: str
    seconds: str
    size: str
    width: int
    height: int
    num_frames: int
    fps: int
    seed: int | None = None
    completed_at: int | None = None
    expires_at: int | None = None
    remixed_from_video_id: str | None = None
    error: VideoCreateError | None = None
    timings: Timings | None = None


class VideoList(WireReply):
    """A page of videos."""

    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: str = "list"


class VideoDeleteResponse(WireReply):
    """A deleted video."""

    id: str
    object: str = "video.deleted"
    deleted: bool = True


class VideoEventData(WireReply):
    """The id of the video."""

    id: str


class VideoEvent(WireReply):
    """The event of a finished video."""

    id: str
    object: str
    created_at: int
    type: Literal["video.completed", "video.failed"]
    data: VideoEventData


def event_of(event_id: str, video_id: str, status: str, created_at: int) -> VideoEvent:
    """The event of a completed or failed video."""
    kind = "video.completed" if status == "completed" else "video.failed"
    return VideoEvent(event_id, "event", created_at, kind, VideoEventData(video_id))


def no_characters() -> RequestError:
    """The 400 for every request about characters."""
    return RequestError(
        "Characters are not supported: no model here can keep a character across videos. Send an image of the "
        "character in 'input_reference' or 'keyframes' instead.",
        param="video",
        code="unsupported_endpoint",
    )


def render(state: VideoState) -> Video:
    """A job in OpenAI's schema."""
    request, error = state.request, state.error
    return Video(
        id=state.id,
        object="video",
        created_at=state.created_at,
        model=state.model,
        status=state.status,
        progress=state.progress,
        prompt=request.prompt,
        seconds=f"{round(request.num_frames / request.fps, 2):g}",
        size=f"{request.width}x{request.height}",
        width=request.width,
        height=request.height,
        num_frames=request.num_frames,
        fps=request.fps,
        seed=request.seed,
        completed_at=state.completed_at,
        expires_at=state.expires_at,
        remixed_from_video_id=state.remixed_from_video_id,
        error=None if error is None else VideoCreateError(code=error.code or error.type, message=error.message),
        timings=None if state.generation_ms is None else Timings(generation_ms=round(state.generation_ms, 3)),
    )


def render_list(states: Sequence[VideoState], *, has_more: bool) -> VideoList:
    """A page of jobs."""
    videos = [render(state) for state in states]
    first, last = (videos[0].id, videos[-1].id) if videos else (None, None)
    return VideoList(data=videos, first_id=first, last_id=last, has_more=has_more)
