"""/v1/videos/sequences, /transitions, /extensions and remix: schemas, and the shots that each is filmed in."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, field_validator

from adapters.base import Keyframe, Media, VideoRequest
from compat.errors import RequestError
from compat.images import MAX_SEED, Guidance, Prompt, Seed, Side, Steps
from compat.media import parse_data_url
from compat.video_plans import Plan, Shot, single
from compat.videos import MAX_FRAMES, MAX_SECONDS, list_of, parse
from compat.wire import FormRequest, WireRequest, validate

MAX_SCENES = 32
MAX_FILM_FRAMES = 16_384
"""Of a whole sequence: eleven minutes at 24 frames a second."""
SCENE_FRAMES = 121
TRANSITION_FRAMES = 24
ENDS = ("start_image", "end_image")
STEP = 8
"""Models make 8k + 1 frames, or 4k + 1: a shot is asked for at the next such length, and cut to its exact one."""


class SceneField(FormRequest):
    """One scene of a sequence."""

    scene_number: Annotated[int, Field(ge=0, le=1_000_000)]
    """Scenes are shown in the order of their numbers."""
    description: Prompt
    keyframe: str | None = None
    """A data URL: the scene's first frame."""
    duration_frames: Annotated[int, Field(ge=1, le=MAX_FRAMES)] = SCENE_FRAMES
    motion_hint: Annotated[str, Field(max_length=1000)] | None = None


class VideoSequenceRequest(FormRequest):
    """The body of POST /v1/videos/sequences."""

    scenes: Annotated[list[SceneField], Field(min_length=1, max_length=MAX_SCENES)]
    model: str | None = None
    transition_frames: Annotated[int, Field(ge=0, le=MAX_FRAMES)] = TRANSITION_FRAMES
    """Between two scenes; 0: they are cut hard."""
    fps: Annotated[int, Field(ge=1, le=120)] | None = None
    size: str | None = None
    width: Side | None = None
    height: Side | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    seed: Seed | None = None
    """Of the first shot; the others follow by one."""
    negative_prompt: Annotated[str, Field(max_length=32_000)] | None = None

    _listed = field_validator("scenes", mode="before")(list_of)


class VideoRemixRequest(WireRequest):
    """The body of POST /v1/videos/{video_id}/remix."""

    prompt: Prompt


class VideoExtendRequest(FormRequest):
    """The body of POST /v1/videos/extensions, without the video."""

    prompt: Prompt
    seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)]


def parse_sequence(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> Plan:
    """The shots of a sequence: its scenes, and behind each one but the first the way to it from the one before.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(VideoSequenceRequest, body)
    if wire.transition_frames == 1:
        raise RequestError("A transition has two frames at least, or there is none: 0.", param="transition_frames")
    shared = {
        name: value
        for name in ("model", "fps", "size", "width", "height", "num_inference_steps", "guidance_scale")
        if (value := getattr(wire, name)) is not None
    }
    if wire.negative_prompt is not None:
        shared["negative_prompt"] = wire.negative_prompt
    numbers = [scene.scene_number for scene in wire.scenes]
    if len(set(numbers)) < len(numbers):
        raise RequestError("Two scenes have the same number.", param="scenes")
    total = sum(scene.duration_frames for scene in wire.scenes) + wire.transition_frames * (len(numbers) - 1)
    if total > MAX_FILM_FRAMES:
        raise RequestError(f"The film has {total} frames; {MAX_FILM_FRAMES} is the most.", param="scenes")

    shots: list[Shot] = []
    order: list[int] = []

    def shot(scene: SceneField, frames: int, keyframes: tuple[Keyframe, ...], **links: int) -> int:
        fields = {**shared, "prompt": scene.description, "num_frames": _next(frames)}
        if scene.motion_hint is not None:
            fields["motion_hint"] = scene.motion_hint
        if wire.seed is not None:
            fields["seed"] = (wire.seed + len(shots)) % (MAX_SEED + 1)
        request = parse(fields, None, defaults)
        shots.append(Shot(replace(request, keyframes=keyframes), frames, **links))
        return len(shots) - 1

    for scene in sorted(wire.scenes, key=lambda scene: scene.scene_number):
        keyframes: tuple[Keyframe, ...] = ()
        if scene.keyframe is not None:
            param = f"scenes[{wire.scenes.index(scene)}].keyframe"
            keyframes = (Keyframe(parse_data_url(scene.keyframe, param=param)),)
        made = shot(scene, scene.duration_frames, keyframes)
        if order and wire.transition_frames:
            order.append(shot(scene, wire.transition_frames, (), after=order[-1], before=made))
        order.append(made)
    return Plan(tuple(shots), tuple(order))


def _next(frames: int) -> int:
    return min(-(-(frames - 1) // STEP) * STEP + 1, MAX_FRAMES)


def parse_transition(body: Mapping[str, Any], images: Mapping[str, Media], defaults: Mapping[str, Any]) -> VideoRequest:
    """The one shot from a picture to another.

    Args:
        body: The fields of a create, and `start_image` and `end_image` as data URLs where they are no files.
        images: Those that came as files.
        defaults: The model's own.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    for name in ("keyframes", "input_reference"):
        if name in body:
            raise RequestError(f"A transition has its two images, and no '{name}'.", param=name)
    request = parse({name: value for name, value in body.items() if name not in ENDS}, None, defaults)
    if request.num_frames < 2:
        raise RequestError("A transition has two frames at least.", param="num_frames")
    start, end = (_image(name, body, images) for name in ENDS)
    return replace(request, keyframes=(Keyframe(start, 0), Keyframe(end, -1)))


def _image(name: str, body: Mapping[str, Any], images: Mapping[str, Media]) -> Media:
    url = body.get(name)
    if name in images and url is None:
        return images[name]
    if not isinstance(url, str) or name in images:
        raise RequestError(
            f"Send '{name}' once, as a file or a data URL.",
            param=name,
            code=None if name in images else "missing_required_parameter",
        )
    return parse_data_url(url, param=name)


def remix(body: Mapping[str, Any], source_id: str, source: Plan, made: VideoRequest) -> tuple[Plan, str]:
    """A video once more: with another prompt, and the same seed, size, length and keyframes; and that prompt.

    Raises:
        RequestError: 400: no prompt; a video of several shots has no prompt of its own to replace.
    """
    prompt = validate(VideoRemixRequest, body).prompt
    request = source.shots[0].request
    if len(source.shots) > 1 or request is None:
        raise RequestError("A video of several shots cannot be remixed.", param="video_id", code="video_not_single")
    return replace(single(replace(request, prompt=prompt, seed=made.seed)), remixed_from=source_id), prompt


def extend(body: Mapping[str, Any], made: VideoRequest) -> tuple[Plan, str]:
    """A video, and behind it a new shot that goes on from its last frame; and that shot's prompt.

    Args:
        body: Prompt and seconds.
        made: The video as it is.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(VideoExtendRequest, body)
    frames = max(1, round(wire.seconds * made.fps)) + 1  # its first one is the video's last, and not shown again
    if frames > MAX_FRAMES:
        raise RequestError(f"An extension has at most {MAX_FRAMES - 1} frames.", param="seconds")
    if made.num_frames + frames - 1 > MAX_FILM_FRAMES:
        raise RequestError(f"A video has at most {MAX_FILM_FRAMES} frames.", param="seconds")
    request = replace(made, prompt=wire.prompt, num_frames=_next(frames), keyframes=())
    return Plan((Shot(None, made.num_frames), Shot(request, frames, after=0, skip=1)), (0, 1)), wire.prompt
