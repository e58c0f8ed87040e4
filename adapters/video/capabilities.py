"""Which of diffusers' video pipelines a checkpoint is run by, and what that one can do."""

import inspect
import json
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import Any

from adapters.base import ModelFiles, VideoRequest
from adapters.errors import ModelLoadFailed, UnsupportedOption
from adapters.video.inputs import PIPELINES, VideoInputs, inputs_by_config, lack

LTX_TOKENS = (256, 1024)
"""Of LTX-Video, whose pipelines pad as they are told."""


@dataclass(frozen=True, slots=True)
class VideoCapabilities:
    """What a pipeline can do, read once. What it lacks is refused by the name of the request's field."""

    inputs: VideoInputs
    side_step: int
    """Width and height are multiples of so many pixels."""
    frame_step: int
    """Lengths are one frame more than a multiple of this."""
    tokens: tuple[int, int]
    """Of a prompt: it is padded to the least, as the model was trained, and refused beyond the most."""


def pipeline_class(model: ModelFiles) -> type[Any]:
    """The class of diffusers that runs a checkpoint.

    Raises:
        ModelLoadFailed: It names none, or one that is not known here.
    """
    import diffusers

    try:
        index: Any = json.loads((Path(model.path) / "model_index.json").read_text("utf-8"))
        name = index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelLoadFailed(
            f"The model {model.name} is not a diffusers pipeline: it has no model_index.json that names its class."
        ) from None
    if not isinstance(name, str) or name not in PIPELINES:
        raise ModelLoadFailed(
            f"The model {model.name} is of a pipeline that films nothing here: {', '.join(PIPELINES)}."
        )
    if name.startswith("Wan"):
        _mend_cleaning()
    return getattr(diffusers, PIPELINES[name])


def _mend_cleaning() -> None:
    """Has Wan's pipeline of pictures clean prompts as that of text does: with ftfy only where that is installed.

    As diffusers 0.42.1 has it, the one asks for ftfy and the other fails without (`pipeline_wan_i2v.basic_clean`).
    """
    from diffusers.pipelines.wan import pipeline_wan, pipeline_wan_i2v

    pipeline_wan_i2v.basic_clean = pipeline_wan.basic_clean


def capabilities(pipeline: Any) -> VideoCapabilities:
    """What a loaded pipeline can do, of one of the classes of `PIPELINES`."""
    arguments = inspect.signature(type(pipeline).__call__).parameters
    default = int(arguments["max_sequence_length"].default)
    if "conditions" in arguments:
        # LTX's pipelines refuse other sides than multiples of 32, however fine the latents of their autoencoder are.
        side, length = lcm(32, pipeline.vae_spatial_compression_ratio), pipeline.vae_temporal_compression_ratio
        tokens = LTX_TOKENS if type(pipeline).__name__ == "LTXConditionPipeline" else (default, default)
    else:
        # The transformer's patches are two by two latents, of which the autoencoder makes the pixels.
        transformer = pipeline.transformer or pipeline.transformer_2
        side = pipeline.vae_scale_factor_spatial * transformer.config.patch_size[-1]
        length, tokens = pipeline.vae_scale_factor_temporal, (default, default)
    transformer = pipeline.transformer
    inputs = inputs_by_config(type(pipeline).__name__, pipeline.config, transformer and transformer.config)
    return VideoCapabilities(
        inputs=inputs,
        side_step=side,
        frame_step=length,
        tokens=tokens,
    )


def check_class(request: VideoRequest, can: VideoCapabilities) -> None:
    """Raises `UnsupportedOption` for what a pipeline's class does not do, or needs and does not get."""
    if (found := lack(request, can.inputs)) is not None:
        raise UnsupportedOption(found.message, param="video" if found.what == "video" else "keyframes")
