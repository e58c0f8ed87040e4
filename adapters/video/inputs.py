"""What a video checkpoint takes beside words, read from its config files: without its weights, and without any library.

The server asks before it accepts a job; the adapter asks the same of the pipeline that it has loaded.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from adapters.base import VideoRequest
from adapters.registry import BACKENDS

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
"""The classes that checkpoints name, and those that run them: of LTX the one that takes keyframes beside text."""

MAX_CONFIG_BYTES = 2**20
"""Of a config file; those of diffusers have a few kilobytes."""


@dataclass(frozen=True, slots=True)
class VideoInputs:
    """What a model takes beside words."""

    pictures: Literal["none", "first", "ends", "any"]
    """At which frames it takes pictures."""
    required: Literal["none", "first", "ends"] = "none"
    """Where it must have one."""
    strength: bool = True
    """Whether a picture may be shown less than as it is."""
    video: bool = True
    """Whether it films along a video."""


@dataclass(frozen=True, slots=True)
class Lack:
    """What a request asks for and a model cannot do, or what it leaves out and the model needs."""

    what: Literal["picture", "first", "last", "video"]
    """A picture that came, a first or last one that did not, or a video that came."""
    message: str
    picture: int = 0
    """Of a picture that came: its place among the keyframes."""


def lack(request: VideoRequest, can: VideoInputs) -> Lack | None:
    """The first thing that a model cannot do; None: it can do it all."""
    if request.source is not None and not can.video:
        return Lack("video", "This model films along no video.")
    places = [_place(keyframe.frame_index, request.num_frames) for keyframe in request.keyframes]
    taken = {"none": (), "first": ("first",), "ends": ("first", "last"), "any": ("first", "last", "between")}
    for number, (place, keyframe) in enumerate(zip(places, request.keyframes, strict=True)):
        if place not in taken[can.pictures]:
            return Lack("picture", _TAKEN[can.pictures], number)
        if keyframe.strength != 1 and not can.strength:
            return Lack("picture", "This model shows pictures as they are: strength is 1.", number)
    if can.required != "none" and "first" not in places:
        return Lack("first", "This model films from a picture: send one for the first frame.")
    if can.required == "ends" and "last" not in places:
        return Lack("last", "This model films from a picture to another: send one for the last frame, too.")
    return None


_TAKEN = {
    "none": "This model films from text alone; it takes no pictures.",
    "first": "This model takes a picture for the first frame alone.",
    "ends": "This model takes pictures for the first frame and the last one alone.",
}


def _place(index: int, frames: int) -> Literal["first", "last", "between"]:
    index = index + frames if index < 0 else index
    return "first" if index == 0 else "last" if index == frames - 1 else "between"


def inputs_of(backend: str, directory: Path) -> VideoInputs | None:
    """What the model in a directory takes; None: nobody can tell before it is loaded.

    Nothing is believed of the files: what is missing, damaged, huge or no config at all is None.

    Args:
        backend: Of its catalog entry.
        directory: Of the checkpoint.
    """
    if BACKENDS[backend].layout != "diffusers":
        return None
    index = _read(directory / "model_index.json")
    name = PIPELINES.get(str(index.get("_class_name"))) if index is not None else None
    if index is None or name is None:
        return None
    transformer = _read(directory / "transformer" / "config.json")
    if name == "WanImageToVideoPipeline" and transformer is None and index.get("transformer") != [None, None]:
        return None  # it has one, and that decides
    return inputs_by_config(name, index, transformer)


def inputs_by_config(pipeline: str, index: Mapping[str, Any], transformer: Mapping[str, Any] | None) -> VideoInputs:
    """What a pipeline takes.

    Args:
        pipeline: The class that runs it, of the values of `PIPELINES`.
        index: The pipeline's own config, as in its model_index.json.
        transformer: The transformer's; None: there is none.
    """
    if pipeline == "WanPipeline":
        # Wan 2.2's smallest: a first picture takes the place of the first latents, in which it was trained as well.
        at = "first" if index.get("expand_timesteps") else "none"
        return VideoInputs(at, strength=False, video=False)
    if pipeline == "WanImageToVideoPipeline":
        return _wan_pictures(index, transformer or {})
    return VideoInputs("any", video=pipeline != "LTX2ConditionPipeline")


def _wan_pictures(index: Mapping[str, Any], transformer: Mapping[str, Any]) -> VideoInputs:
    """What Wan's pipeline of pictures does with a second one, by the transformer that it has."""
    if index.get("expand_timesteps"):
        return VideoInputs("first", "first", strength=False, video=False)  # it would pass over a last one
    if transformer.get("image_dim") is None:
        return VideoInputs("ends", "first", strength=False, video=False)  # Wan 2.2: pictures are latents alone
    if transformer.get("pos_embed_seq_len") is None:
        return VideoInputs("first", "first", strength=False, video=False)  # Wan 2.1
    return VideoInputs("ends", "ends", strength=False, video=False)  # its first and last frame model: no fewer than two


def _read(path: Path) -> Mapping[str, Any] | None:
    """A config file's object; None where there is none."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        found: Any = json.loads(data) if len(data) <= MAX_CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    return cast(Mapping[str, Any], found) if isinstance(found, dict) else None
