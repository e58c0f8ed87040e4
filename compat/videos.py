"""/v1/videos: OpenAI's schemas of video jobs, parse and render."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from adapters.base import Keyframe, Media, VideoRequest
from compat.errors import RequestError, WireError
from compat.images import Guidance, Prompt, Seed, Side, Steps, check_size
from compat.media import parse_data_url
from compat.wire import FormRequest, Timings, WireReply, WireRequest, parse_size, validate

Status = Literal["queued", "in_progress", "completed", "failed"]
MAX_FRAMES = 1024
MAX_SECONDS = 120
DEFAULT_SECONDS = 4
"""OpenAI's default of this route, for models without one of their own."""
DEFAULT_FPS = 24
POLL_MS = 500


class KeyframeField(FormRequest):
    """A picture at one of the video's frames."""

    frame_index: Annotated[int, Field(ge=-MAX_FRAMES, lt=MAX_FRAMES)]
    image: str
    """A data URL."""
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0


class ImageReference(WireRequest):
    """A reference image in a JSON body."""

    image_url: str


class VideoCreateRequest(FormRequest):
    """The body of POST /v1/videos, as form fields or JSON, as far as this server honours it."""

    prompt: Prompt
    model: str | None = None
    seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)] | None = None
    size: str | None = None
    input_reference: str | ImageReference | None = None
    """A data URL, where the image did not come as a file."""

    num_frames: Annotated[int, Field(ge=1, le=MAX_FRAMES)] | None = None
    fps: Annotated[int, Field(ge=1, le=120)] | None = None
    width: Side | None = None
    height: Side | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    seed: Seed | None = None
    negative_prompt: Annotated[str, Field(max_length=32_000)] | None = None
    motion_hint: Annotated[str, Field(max_length=1000)] | None = None
    """How things or the camera move; said to the model after the prompt."""
    keyframes: Annotated[list[KeyframeField], Field(max_length=32)] | None = None

    @field_validator("keyframes", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        rows = list_of(value)
        # Elsewhere the frame's field is called `index`.
        return [_renamed(row) for row in rows] if isinstance(rows, list) else rows  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON


def list_of(value: Any) -> Any:
    """A list that may have come as text, in a form field.

    Raises:
        ValueError: The text is no JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("as a form field, it must be a JSON list") from None


def _renamed(row: Any) -> Any:
    if not isinstance(row, dict) or "index" not in row or "frame_index" in row:
        return row  # pyright: ignore[reportUnknownVariableType] - JSON
    return {("frame_index" if name == "index" else name): value for name, value in row.items()}  # pyright: ignore[reportUnknownVariableType] - JSON


@dataclass(frozen=True, slots=True)
class VideoState:
    """What is to be told of a video job."""

    id: str
    model: str
    request: VideoRequest
    """What was asked for; once completed, with the size and length that were really made."""
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
    """A video job. `width` to `timings` are ours."""

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
    """A video that is gone."""

    id: str
    object: str = "video.deleted"
    deleted: bool = True


def parse(body: Mapping[str, Any], reference: Media | None, defaults: Mapping[str, Any]) -> VideoRequest:
    """The video that a body asks for.

    Args:
        body: The JSON object, or the form's fields from `wire.flatten`.
        reference: The image that came as the file `input_reference`, for the first frame.
        defaults: The model's own `width`, `height`, `num_frames`, `fps` and so on, where it has any.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(VideoCreateRequest, body)
    if wire.size is not None and (wire.width is not None or wire.height is not None):
        raise RequestError("Send size, or width and height, not both.", param="size")
    if wire.seconds is not None and wire.num_frames is not None:
        raise RequestError("Send seconds or num_frames, not both.", param="seconds")
    names = ("num_frames", "fps", "width", "height", "num_inference_steps", "guidance_scale", "seed", "negative_prompt")
    fields: dict[str, Any] = {
        **defaults,
        **{name: value for name in names if (value := getattr(wire, name)) is not None},
    }
    fields.setdefault("fps", DEFAULT_FPS)
    if wire.size is not None:
        fields["width"], fields["height"] = parse_size(wire.size)
    if wire.seconds is not None or "num_frames" not in fields:
        fields["num_frames"] = round((wire.seconds or DEFAULT_SECONDS) * fields["fps"]) + 1
    if not 1 <= fields["num_frames"] <= MAX_FRAMES:
        raise RequestError(f"A video has at most {MAX_FRAMES} frames.", param="seconds")
    prompt = f"{wire.prompt} {wire.motion_hint}" if wire.motion_hint else wire.prompt
    request = VideoRequest(prompt=prompt, keyframes=_keyframes(wire, reference), **fields)
    check_size(request.width, request.height)
    return request


def _keyframes(wire: VideoCreateRequest, reference: Media | None) -> tuple[Keyframe, ...]:
    given = wire.input_reference
    if given is not None and reference is None:
        url = given if isinstance(given, str) else given.image_url
        reference = parse_data_url(url, param="input_reference")
    first = () if reference is None else (Keyframe(reference),)
    others = tuple(
        Keyframe(parse_data_url(one.image, param=f"keyframes[{i}].image"), one.frame_index, one.strength)
        for i, one in enumerate(wire.keyframes or ())
    )
    return first + others


def render(state: VideoState) -> Video:
    """A job as OpenAI's clients expect it."""
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
