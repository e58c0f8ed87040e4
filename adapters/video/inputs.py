"""What a video checkpoint accepts besides text, read from its config files: no weights, no libraries.

The server checks requests with it before it accepts a job; the adapter applies it to the pipeline that it has loaded.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from adapters.base import VideoRequest
from adapters.errors import ModelLoadFailed
from adapters.registry import BACKENDS, Detected

PIPELINES = {
    "LTXPipeline": "LTXConditionPipeline",
    "LTXImageToVideoPipeline": "LTXConditionPipeline",
    "LTXConditionPipeline": "LTXConditionPipeline",
    "LTX2Pipeline": "LTX2ConditionPipeline",
    "LTX2ImageToVideoPipeline": "LTX2ConditionPipeline",
    "LTX2ConditionPipeline": "LTX2ConditionPipeline",
    "WanPipeline": "WanPipeline",
    "WanImageToVideoPipeline": "WanImageToVideoPipeline",
}
"""The pipeline class that a checkpoint names, and the class that runs it; for LTX, the one that accepts keyframes."""

MAX_CONFIG_BYTES = 2**20
"""Maximum size of a config file; diffusers' have a few kilobytes."""


@dataclass(frozen=True, slots=True)
class VideoInputs:
    """What a model accepts besides text."""

    keyframes: Literal["none", "first", "first_and_last", "any"]
    """The frames at which it accepts images."""
    required: Literal["none", "first", "first_and_last"] = "none"
    """The frames at which it must have images."""
    strength: bool = True
    """Whether a keyframe may have a strength below 1."""
    video: bool = True
    """Whether it accepts a source video."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Something that a request asks for and the model cannot do, or that the model requires and the request lacks."""

    input: Literal["keyframe", "first_frame", "last_frame", "video"]
    """A keyframe that was sent, an image for the first or last frame that is missing, or a video that was sent."""
    message: str
    keyframe: int = 0
    """For a keyframe: its index in `VideoRequest.keyframes`."""


def detect(configs: Mapping[str, Any]) -> Detected:
    """A video pipeline by its config files. See `Backend.detect`."""
    name = configs.get("model_index.json", {}).get("_class_name")
    if not isinstance(name, str) or name not in PIPELINES:
        raise ModelLoadFailed(f"its pipeline class is none of the video pipelines {', '.join(PIPELINES)}")
    return Detected("video")


def find_unsupported(request: VideoRequest, inputs: VideoInputs) -> Unsupported | None:
    """The first input that a model cannot use, or that it requires and does not get; None if there is none."""
    if request.source is not None and not inputs.video:
        return Unsupported("video", "This model does not accept a source video.")
    positions = [_position(keyframe.frame_index, request.num_frames) for keyframe in request.keyframes]
    accepted = {
        "none": (),
        "first": ("first",),
        "first_and_last": ("first", "last"),
        "any": ("first", "last", "between"),
    }
    for index, (position, keyframe) in enumerate(zip(positions, request.keyframes, strict=True)):
        if position not in accepted[inputs.keyframes]:
            return Unsupported("keyframe", _ACCEPTED_MESSAGES[inputs.keyframes], index)
        if keyframe.strength != 1 and not inputs.strength:
            return Unsupported("keyframe", "This model shows keyframes unchanged: set strength to 1.", index)
    if inputs.required != "none" and "first" not in positions:
        return Unsupported("first_frame", "This model generates from an image: send one for the first frame.")
    if inputs.required == "first_and_last" and "last" not in positions:
        return Unsupported("last_frame", "This model generates between two images: send one for the last frame, too.")
    return None


_ACCEPTED_MESSAGES = {
    "none": "This model generates from text only; it accepts no images.",
    "first": "This model accepts an image for the first frame only.",
    "first_and_last": "This model accepts images for the first and the last frame only.",
}


def _position(index: int, frames: int) -> Literal["first", "last", "between"]:
    index = index + frames if index < 0 else index
    return "first" if index == 0 else "last" if index == frames - 1 else "between"


def inputs_of(backend: str, directory: Path) -> VideoInputs | None:
    """What the model in a directory accepts; None: unknown until it is loaded.

    The files are not trusted: a config that is missing, damaged, oversized or not a JSON object gives None.

    Args:
        backend: The backend of its catalog entry.
        directory: The checkpoint's directory.
    """
    if BACKENDS[backend].layout != "diffusers":
        return None
    index = _read(directory / "model_index.json")
    name = PIPELINES.get(str(index.get("_class_name"))) if index is not None else None
    if index is None or name is None:
        return None
    transformer = _read(directory / "transformer" / "config.json")
    if name == "WanImageToVideoPipeline" and transformer is None and index.get("transformer") != [None, None]:
        return None  # the model has a transformer, and its config decides
    return inputs_by_config(name, index, transformer)


def inputs_by_config(pipeline: str, index: Mapping[str, Any], transformer: Mapping[str, Any] | None) -> VideoInputs:
    """What a pipeline accepts.

    Args:
        pipeline: The class that runs it, one of the values of `PIPELINES`.
        index: The pipeline's own config, as in its model_index.json.
        transformer: The transformer's config; None: the pipeline has no transformer.
    """
    if pipeline == "WanPipeline":
        # Wan 2.2's smallest model replaces the first latents by those of an image, as it did in training.
        keyframes = "first" if index.get("expand_timesteps") else "none"
        return VideoInputs(keyframes, strength=False, video=False)
    if pipeline == "WanImageToVideoPipeline":
        return _wan_image_inputs(index, transformer or {})
    return VideoInputs("any", video=pipeline != "LTX2ConditionPipeline")


def _wan_image_inputs(index: Mapping[str, Any], transformer: Mapping[str, Any]) -> VideoInputs:
    """What Wan's image-to-video pipeline accepts; whether it uses a last image depends on its transformer."""
    if index.get("expand_timesteps"):
        return VideoInputs("first", "first", strength=False, video=False)  # it would ignore a last image
    if transformer.get("image_dim") is None:
        return VideoInputs("first_and_last", "first", strength=False, video=False)  # Wan 2.2: images enter as latents
    if transformer.get("pos_embed_seq_len") is None:
        return VideoInputs("first", "first", strength=False, video=False)  # Wan 2.1
    # Wan 2.1's first-and-last-frame model needs both images.
    return VideoInputs("first_and_last", "first_and_last", strength=False, video=False)


def _read(path: Path) -> Mapping[str, Any] | None:
    """The JSON object in a config file; None if it cannot be read."""
    try:
        if not path.is_file():  # opening a named pipe would block
            return None
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        found: Any = json.loads(data) if len(data) <= MAX_CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    return cast(Mapping[str, Any], found) if isinstance(found, dict) else None
