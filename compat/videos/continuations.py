"""Videos from videos: remix, extension and edit."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from adapters.base import Media, VideoRequest
from compat.errors import invalid, missing
from compat.images.generations import Prompt, check_size
from compat.videos.fields import (
    MAX_FRAMES,
    MAX_VIDEO_FRAMES,
    Frames,
    Hint,
    Seconds,
    SizeFields,
    full_prompt,
    supported_length,
)
from compat.videos.plan import FieldNames, Plan, Shot, single
from compat.wire import WireRequest, validate

STRENGTH = 0.8
"""The default of how much an edit changes the video."""


CONTINUED = FieldNames(((), ()), ("video", "video"), last="video")
"""The fields with an extension's images and an edit's source."""


class VideoRemixRequest(WireRequest):
    """The body of POST /v1/videos/{video_id}/remix."""

    prompt: Prompt


class VideoExtendRequest(SizeFields):
    """The body of POST /v1/videos/extensions, without the video. The default size is the video's."""

    prompt: Prompt
    seconds: Seconds | None = None
    num_frames: Frames | None = None
    """Length of the extension, instead of `seconds`."""
    motion_hint: Hint | None = None


class VideoEditRequest(SizeFields):
    """The body of POST /v1/videos/edits, without the video. The default size is the video's."""

    prompt: Prompt
    motion_hint: Hint | None = None
    strength: Annotated[float, Field(gt=0, le=1)] = STRENGTH
    """How much the video changes; 1 keeps nothing of it."""


def request_of_upload(width: int, height: int, num_frames: int, fps: int, defaults: Mapping[str, Any]) -> VideoRequest:
    """The request that stands for an uploaded video: its size, length and rate, and the model's defaults."""
    fields: dict[str, Any] = {**defaults, "width": width, "height": height, "num_frames": num_frames, "fps": fps}
    return VideoRequest("", **fields)


def remix(body: Mapping[str, Any], source_id: str, source: Plan, made: VideoRequest) -> tuple[Plan, str]:
    """The plan of a remix and its prompt. Seed, size, length, images and soundtrack stay the same.

    Raises:
        RequestError: 400: no prompt, or a video of several shots.
    """
    prompt = validate(VideoRemixRequest, body).prompt
    first = source.shots[0]
    if len(source.shots) > 1 or first.request is None:
        raise invalid("video_id", "only videos of a single shot can be remixed", code="video_not_single")
    shot = replace(first, request=replace(first.request, prompt=prompt, seed=made.seed))
    return Plan((shot,), remixed_from=source_id, sound=source.sound), prompt


def remix_fields(plan: Plan) -> FieldNames:
    """The fields with a remix's images: all come from the named video."""
    count = len(plan.shots[0].request.keyframes) if plan.shots[0].request is not None else 0
    return FieldNames((("video_id",) * count,), ("video_id",), last="video_id", source="video_id")


def with_source(plan: Plan, source: Media) -> Plan:
    """The plan with another source video."""
    shots = (
        replace(one, request=None if one.request is None else replace(one.request, source=source)) for one in plan.shots
    )
    return replace(plan, shots=tuple(shots))


def extend(body: Mapping[str, Any], made: VideoRequest) -> tuple[Plan, str]:
    """The plan of an extension, a new shot after the video's last frame; and that shot's prompt.

    Args:
        body: The request.
        made: The existing video.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(VideoExtendRequest, body)
    if wire.seconds is None and wire.num_frames is None:
        raise missing("seconds")
    if wire.seconds is not None and wire.num_frames is not None:
        raise invalid("num_frames", "cannot be combined with 'seconds'; send one of them")
    length = "num_frames" if wire.num_frames else "seconds"
    added = wire.num_frames or max(1, round((wire.seconds or 0) * made.fps))
    frames = added + 1  # the first one repeats the video's last, and is left out
    if frames > MAX_FRAMES:
        raise invalid(length, f"must be at most {MAX_FRAMES - 1} frames; it is {added}")
    if made.num_frames + added > MAX_VIDEO_FRAMES:
        raise invalid(
            length, f"the video would have {made.num_frames + added:,} frames; the maximum is {MAX_VIDEO_FRAMES:,}"
        )
    prompt = full_prompt(wire.prompt, wire.motion_hint)
    request = replace(
        made, prompt=prompt, num_frames=supported_length(frames), keyframes=(), source=None, **wire.given()
    )
    check_size(request.width, request.height)
    return Plan((Shot(None, made.num_frames), Shot(request, frames, after=0, skip=1)), (0, 1)), prompt


def edit(body: Mapping[str, Any], made: VideoRequest, source: Media) -> tuple[Plan, str]:
    """The plan of an edit, which keeps the video's length and follows its frames; and the new prompt.

    Args:
        body: The request.
        made: The existing video.
        source: Its file.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(VideoEditRequest, body)
    if made.num_frames > MAX_FRAMES:
        raise invalid("video", f"must have at most {MAX_FRAMES} frames to be edited; it has {made.num_frames}")
    prompt = full_prompt(wire.prompt, wire.motion_hint)
    request = replace(
        made,
        prompt=prompt,
        num_frames=supported_length(made.num_frames),
        keyframes=(),
        source=source,
        strength=wire.strength,
        **wire.given(),
    )
    check_size(request.width, request.height)
    return replace(single(request), shots=(Shot(request, made.num_frames),)), prompt
