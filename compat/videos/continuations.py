"""Videos made of videos: remix, extension and edit; their schemas, and what is filmed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from adapters.base import Media, VideoRequest
from compat.errors import RequestError
from compat.images.generations import Prompt, check_size
from compat.videos.fields import MAX_FILM_FRAMES, MAX_FRAMES, Frames, Hint, Seconds, SizeFields, directed, next_length
from compat.videos.plan import Fields, Plan, Shot, single
from compat.wire import WireRequest, validate

STRENGTH = 0.8
"""How much of a video an edit gives up, where nothing is said of it."""


CONTINUED = Fields(((), ()), ("video", "video"), last="video")
"""What an extension's pictures come in, and an edit's source."""


class VideoRemixRequest(WireRequest):
    """The body of POST /v1/videos/{video_id}/remix."""

    prompt: Prompt


class VideoExtendRequest(SizeFields):
    """The body of POST /v1/videos/extensions, without the video. The film has the video's size, if no other is told."""

    prompt: Prompt
    seconds: Seconds | None = None
    num_frames: Frames | None = None
    """Of what is new, instead of `seconds`."""
    motion_hint: Hint | None = None


class VideoEditRequest(SizeFields):
    """The body of POST /v1/videos/edits, without the video. The size is as in `VideoExtendRequest`."""

    prompt: Prompt
    motion_hint: Hint | None = None
    strength: Annotated[float, Field(gt=0, le=1)] = STRENGTH
    """How much of the video is given up; 1 keeps nothing of it."""


def uploaded(width: int, height: int, num_frames: int, fps: int, defaults: Mapping[str, Any]) -> VideoRequest:
    """An upload as if a model had been asked for it: its own size, length and rate, else the model's defaults."""
    fields: dict[str, Any] = {**defaults, "width": width, "height": height, "num_frames": num_frames, "fps": fps}
    return VideoRequest("", **fields)


def remix(body: Mapping[str, Any], source_id: str, source: Plan, made: VideoRequest) -> tuple[Plan, str]:
    """A video once more: with another prompt, and the same seed, size, length, pictures and sound; and that prompt.

    Raises:
        RequestError: 400: no prompt; a video of several shots has no prompt of its own to replace.
    """
    prompt = validate(VideoRemixRequest, body).prompt
    first = source.shots[0]
    if len(source.shots) > 1 or first.request is None:
        raise RequestError("A video of several shots cannot be remixed.", param="video_id", code="video_not_single")
    shot = replace(first, request=replace(first.request, prompt=prompt, seed=made.seed))
    return Plan((shot,), remixed_from=source_id, sound=source.sound), prompt


def remixed(plan: Plan) -> Fields:
    """Where all came from that a remix films again: the video that is named."""
    count = len(plan.shots[0].request.keyframes) if plan.shots[0].request is not None else 0
    return Fields((("video_id",) * count,), ("video_id",), last="video_id", source="video_id")


def of_source(plan: Plan, source: Media) -> Plan:
    """The plan of one shot, with its source at another place."""
    shots = (
        replace(one, request=None if one.request is None else replace(one.request, source=source)) for one in plan.shots
    )
    return replace(plan, shots=tuple(shots))


def extend(body: Mapping[str, Any], made: VideoRequest) -> tuple[Plan, str]:
    """A video, and behind it a new shot that goes on from its last frame; and that shot's prompt.

    Args:
        body: Prompt, length, and how the model is to work.
        made: The video as it is.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(VideoExtendRequest, body)
    if (wire.seconds is None) == (wire.num_frames is None):
        missing = "missing_required_parameter" if wire.seconds is None else None
        raise RequestError("Send seconds, or num_frames, of what is to be added.", param="seconds", code=missing)
    added = wire.num_frames or max(1, round((wire.seconds or 0) * made.fps))
    frames = added + 1  # its first one is the video's last, and not shown again
    if frames > MAX_FRAMES:
        raise RequestError(f"An extension has at most {MAX_FRAMES - 1} frames.", param="seconds")
    if made.num_frames + added > MAX_FILM_FRAMES:
        raise RequestError(f"A video has at most {MAX_FILM_FRAMES} frames.", param="seconds")
    prompt = directed(wire.prompt, wire.motion_hint)
    request = replace(made, prompt=prompt, num_frames=next_length(frames), keyframes=(), source=None, **wire.film())
    check_size(request.width, request.height)
    return Plan((Shot(None, made.num_frames), Shot(request, frames, after=0, skip=1)), (0, 1)), prompt


def edit(body: Mapping[str, Any], made: VideoRequest, source: Media) -> tuple[Plan, str]:
    """A video filmed anew along its own frames, as long as it is; and the new prompt.

    Args:
        body: Prompt, strength, and how the model is to work.
        made: The video as it is.
        source: Where it will be.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(VideoEditRequest, body)
    if made.num_frames > MAX_FRAMES:
        raise RequestError(f"A video that is edited has at most {MAX_FRAMES} frames.", param="video")
    prompt = directed(wire.prompt, wire.motion_hint)
    request = replace(
        made,
        prompt=prompt,
        num_frames=next_length(made.num_frames),
        keyframes=(),
        source=source,
        strength=wire.strength,
        **wire.film(),
    )
    check_size(request.width, request.height)
    return replace(single(request), shots=(Shot(request, made.num_frames),)), prompt
