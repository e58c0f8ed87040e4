"""/v1/videos/sequences: its schema and its plan."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, field_validator

from adapters.base import Keyframe, VideoRequest
from compat.errors import invalid
from compat.images.generations import MAX_SEED, Prompt, check_size
from compat.media import parse_data_url
from compat.videos.fields import (
    DEFAULT_FPS,
    MAX_FRAMES,
    MAX_VIDEO_FRAMES,
    Frames,
    Hint,
    RateFields,
    full_prompt,
    supported_length,
)
from compat.videos.plan import FieldNames, Plan, Shot
from compat.wire import FormRequest, first_repeated, parse_json_field, validate

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


class VideoSequenceRequest(RateFields):
    """The body of POST /v1/videos/sequences. Its seed is the first shot's; each further shot has the next one."""

    scenes: Annotated[list[SceneField], Field(min_length=1, max_length=MAX_SCENES)]
    transition_frames: Annotated[int, Field(ge=0, le=MAX_FRAMES)] = TRANSITION_FRAMES
    """Between two scenes; 0 for a hard cut."""

    _listed = field_validator("scenes", mode="before")(parse_json_field)


def parse_sequence(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[Plan, FieldNames]:
    """The plan of a sequence, its scenes with transitions between them, and the fields with their images.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(VideoSequenceRequest, body)
    if wire.transition_frames == 1:
        raise invalid("transition_frames", "must be 0, for no transitions, or at least 2")
    numbers = [scene.scene_number for scene in wire.scenes]
    if (index := first_repeated(numbers)) is not None:
        raise invalid(f"scenes[{index}].scene_number", f"an earlier scene has the number {numbers[index]}, too")
    total = sum(scene.duration_frames for scene in wire.scenes) + wire.transition_frames * (len(numbers) - 1)
    if total > MAX_VIDEO_FRAMES:
        raise invalid("scenes", f"the video would have {total:,} frames; the maximum is {MAX_VIDEO_FRAMES:,}")
    fields: dict[str, Any] = {"fps": DEFAULT_FPS, **defaults, **wire.given()}
    shared = VideoRequest("", **fields)
    check_size(shared.width, shared.height)

    shots: list[Shot] = []
    named: list[str] = []
    order: list[int] = []

    def shot(scene: SceneField, frames: int, keyframes: tuple[Keyframe, ...], **neighbours: int) -> int:
        request = replace(
            shared,
            prompt=full_prompt(scene.description, scene.motion_hint),
            num_frames=supported_length(frames),
            keyframes=keyframes,
            seed=None if wire.seed is None else (wire.seed + len(shots)) % (MAX_SEED + 1),
        )
        shots.append(Shot(request, frames, **neighbours))
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
    images = tuple(
        tuple(name for _ in one.request.keyframes) if one.request else ()
        for name, one in zip(named, shots, strict=True)
    )
    return Plan(tuple(shots), tuple(order)), FieldNames(
        images, tuple(named), last="scenes", joined_by="transition_frames"
    )
