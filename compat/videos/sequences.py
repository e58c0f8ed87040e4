"""/v1/videos/sequences: its schema, and the shots that it is filmed in."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, field_validator

from adapters.base import Keyframe, VideoRequest
from compat.errors import RequestError
from compat.images.generations import MAX_SEED, Prompt, check_size
from compat.media import parse_data_url
from compat.videos.fields import (
    DEFAULT_FPS,
    MAX_FILM_FRAMES,
    MAX_FRAMES,
    FilmFields,
    Frames,
    Hint,
    directed,
    list_of,
    next_length,
)
from compat.videos.plan import Fields, Plan, Shot
from compat.wire import FormRequest, validate

MAX_SCENES = 32
SCENE_FRAMES = 121
TRANSITION_FRAMES = 24


class SceneField(FormRequest):
    """One scene of a sequence."""

    scene_number: Annotated[int, Field(ge=0, le=1_000_000)]
    """Scenes are shown in the order of their numbers."""
    description: Prompt
    keyframe: str | None = None
    """A data URL: the scene's first frame."""
    duration_frames: Frames = SCENE_FRAMES
    motion_hint: Hint | None = None


class VideoSequenceRequest(FilmFields):
    """The body of POST /v1/videos/sequences. Its seed is the first shot's; the others follow by one."""

    scenes: Annotated[list[SceneField], Field(min_length=1, max_length=MAX_SCENES)]
    transition_frames: Annotated[int, Field(ge=0, le=MAX_FRAMES)] = TRANSITION_FRAMES
    """Between two scenes; 0: they are cut hard."""

    _listed = field_validator("scenes", mode="before")(list_of)


def parse_sequence(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[Plan, Fields]:
    """The shots of a sequence: its scenes, and behind each one but the first the way to it from the one before.

    And what the fields are called that their pictures came in.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(VideoSequenceRequest, body)
    if wire.transition_frames == 1:
        raise RequestError("A transition has two frames at least, or there is none: 0.", param="transition_frames")
    numbers = [scene.scene_number for scene in wire.scenes]
    if len(set(numbers)) < len(numbers):
        raise RequestError("Two scenes have the same number.", param="scenes")
    total = sum(scene.duration_frames for scene in wire.scenes) + wire.transition_frames * (len(numbers) - 1)
    if total > MAX_FILM_FRAMES:
        raise RequestError(f"The film has {total} frames; {MAX_FILM_FRAMES} is the most.", param="scenes")
    fields: dict[str, Any] = {"fps": DEFAULT_FPS, **defaults, **wire.film()}
    shared = VideoRequest("", **fields)
    check_size(shared.width, shared.height)

    shots: list[Shot] = []
    named: list[str] = []
    order: list[int] = []

    def shot(scene: SceneField, frames: int, keyframes: tuple[Keyframe, ...], **links: int) -> int:
        request = replace(
            shared,
            prompt=directed(scene.description, scene.motion_hint),
            num_frames=next_length(frames),
            keyframes=keyframes,
            seed=None if wire.seed is None else (wire.seed + len(shots)) % (MAX_SEED + 1),
        )
        shots.append(Shot(request, frames, **links))
        return len(shots) - 1

    for scene in sorted(wire.scenes, key=lambda scene: scene.scene_number):
        keyframes: tuple[Keyframe, ...] = ()
        param = f"scenes[{wire.scenes.index(scene)}].keyframe"
        if scene.keyframe is not None:
            keyframes = (Keyframe(parse_data_url(scene.keyframe, param=param)),)
        made = shot(scene, scene.duration_frames, keyframes)
        named.append(param)
        if order and wire.transition_frames:
            named.append("transition_frames")
            order.append(shot(scene, wire.transition_frames, (), after=order[-1], before=made))
        order.append(made)
    pictures = tuple(
        tuple(name for _ in one.request.keyframes) if one.request else ()
        for name, one in zip(named, shots, strict=True)
    )
    return Plan(tuple(shots), tuple(order)), Fields(pictures, tuple(named), last="scenes", links="transition_frames")
