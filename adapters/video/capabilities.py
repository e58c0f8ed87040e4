"""Which of diffusers' video pipelines runs a checkpoint, and what it can do."""

import inspect
import json
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import Any

from adapters.base import ModelFiles, VideoRequest
from adapters.errors import ModelLoadFailed, UnsupportedOption
from adapters.video.inputs import PIPELINES, VideoInputs, find_unsupported, inputs_by_config

LTX_TOKENS = (256, 1024)
"""Minimum and maximum prompt length of LTX-Video, whose pipelines pad to any length."""


@dataclass(frozen=True, slots=True)
class VideoCapabilities:
    """What a pipeline can do, read once after loading."""

    inputs: VideoInputs
    side_step: int
    """Width and height are multiples of this, in pixels."""
    frame_step: int
    """The number of frames is a multiple of this, plus one."""
    tokens: tuple[int, int]
    """Minimum and maximum tokens of a prompt: shorter ones are padded, as in training; longer ones are rejected."""


def pipeline_class(model: ModelFiles) -> type[Any]:
    """The diffusers class that runs a checkpoint.

    Raises:
        ModelLoadFailed: The checkpoint names no class, or one that is not in `PIPELINES`.
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
            f"The pipeline class of the model {model.name} is not supported for video. Supported: "
            f"{', '.join(PIPELINES)}."
        )
    if name.startswith("Wan"):
        _patch_prompt_cleaning()
    return getattr(diffusers, PIPELINES[name])


def _patch_prompt_cleaning() -> None:
    """Makes Wan's image-to-video pipeline clean prompts like the text-to-video one, which works without ftfy."""
    from diffusers.pipelines.wan import pipeline_wan, pipeline_wan_i2v

    # INTERNAL diffusers==0.42.1: `pipeline_wan_i2v.basic_clean` calls ftfy without checking that it is installed.
    pipeline_wan_i2v.basic_clean = pipeline_wan.basic_clean


def capabilities(pipeline: Any) -> VideoCapabilities:
    """What a loaded pipeline can do; its class is one of the values of `PIPELINES`."""
    arguments = inspect.signature(type(pipeline).__call__).parameters
    default = int(arguments["max_sequence_length"].default)
    if "conditions" in arguments:
        # LTX's pipelines require multiples of 32 even if their autoencoder would allow finer steps.
        side, length = lcm(32, pipeline.vae_spatial_compression_ratio), pipeline.vae_temporal_compression_ratio
        tokens = LTX_TOKENS if type(pipeline).__name__ == "LTXConditionPipeline" else (default, default)
    else:
        # A patch of the transformer is two by two latents; the autoencoder upscales each latent.
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


def check_inputs(request: VideoRequest, can: VideoCapabilities) -> None:
    """Raises `UnsupportedOption` for inputs that the pipeline does not accept, or requires and does not get."""
    if (found := find_unsupported(request, can.inputs)) is not None:
        raise UnsupportedOption(found.message, param="video" if found.input == "video" else "keyframes")
