"""What a text-to-image pipeline can do, read once from its class and its parts."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.base import ModelFiles
from adapters.errors import ModelLoadFailed

NEEDED = frozenset(
    ("prompt", "width", "height", "num_inference_steps", "generator", "output_type", "callback_on_step_end")
)
"""Arguments without which a pipeline cannot be served: it draws from text, of a size, step by step, by seeds."""
UNET_LATENTS = 4
"""Channels of the latents that diffusers' inpainting pipelines of UNets know."""
TEXT_TOKENS = 512
"""Tokens that a text encoder reads whose pipeline says nothing else."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Of one pipeline. What it lacks is refused by the name of the request's field."""

    guidance: str | None
    """The argument that classifier-free guidance goes by: "guidance_scale", "true_cfg_scale", or there is none."""
    default_guidance: float
    default_steps: int
    true_cfg: bool
    """Whether guidance is trained in (`guidance_scale`), and classifier-free guidance comes on top of it."""
    negative_prompt: bool
    refiner: bool
    """Whether it can stop early and hand its latents over."""
    loras: bool
    side: int
    """Width and height are multiples of so many pixels."""
    edit: type[Any] | None
    """The pipeline that draws an image anew with the same weights."""
    inpaint: type[Any] | None
    """The same within a mask; where it is `edit`, that one draws, with `adapters/image/inpainting.py`."""
    tokens: Mapping[str, int]
    """How much of a prompt each text encoder reads, by the name of its tokenizer; the rest would be cut off."""


def pipeline_class(model: ModelFiles) -> type[Any]:
    """The class of diffusers that a checkpoint names.

    Raises:
        ModelLoadFailed: It names none, or one that does not draw images from text alone.
    """
    import diffusers
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    try:
        index: Any = json.loads((Path(model.path) / "model_index.json").read_text("utf-8"))
        name = index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelLoadFailed(
            f"The model {model.name} is not a diffusers pipeline: it has no model_index.json that names its class."
        ) from None
    cls = getattr(diffusers, name, None) if isinstance(name, str) and name.endswith("Pipeline") else None
    if not (isinstance(cls, type) and issubclass(cls, DiffusionPipeline)):
        raise ModelLoadFailed(f"The model {model.name} is of a pipeline that diffusers does not have.")
    arguments = inspect.signature(cls.__call__).parameters
    if not arguments.keys() >= NEEDED or "num_frames" in arguments or _required(arguments) - {"prompt"}:
        raise ModelLoadFailed(f"The model {model.name} is a {name}, which does not draw images from text alone.")
    return cls


def _required(arguments: Any) -> set[str]:
    """Arguments without a default."""
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name for name, one in arguments.items() if one.default is one.empty and one.kind in plain} - {"self"}


def capabilities(pipeline: Any) -> Capabilities:
    """What a loaded pipeline can do."""
    arguments = inspect.signature(type(pipeline).__call__).parameters
    denoiser = getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)
    config: Any = getattr(denoiser, "config", {})
    trained_in = bool(config.get("guidance_embeds"))
    guidance = "guidance_scale" if "guidance_scale" in arguments else None
    if "true_cfg_scale" in arguments and not trained_in:
        guidance = "true_cfg_scale"
    # Latent consistency models take the scale as an input, and then nothing is done with a negative prompt.
    as_input = config.get("time_cond_proj_dim") is not None
    edit, inpaint = _siblings(type(pipeline))
    if inpaint is not None and "unet" in pipeline.components and config.get("in_channels") != UNET_LATENTS:
        inpaint = edit
    return Capabilities(
        guidance=guidance,
        default_guidance=float(arguments[guidance].default if guidance else 0),
        default_steps=int(arguments["num_inference_steps"].default),
        true_cfg=trained_in and "true_cfg_scale" in arguments,
        negative_prompt="negative_prompt" in arguments and not as_input,
        refiner="denoising_end" in arguments,
        loras=hasattr(pipeline, "load_lora_weights"),
        side=_side(pipeline),
        edit=edit,
        inpaint=inpaint,
        tokens=_tokens(pipeline, arguments),
    )


def _siblings(cls: type[Any]) -> tuple[type[Any] | None, type[Any] | None]:
    """Its image-to-image and inpainting pipelines, where diffusers has them and they take a `strength`.

    By their names, which diffusers makes by rule: its own tables of them import every pipeline that there is.
    """
    import diffusers

    found: list[type[Any] | None] = []
    for task in ("Img2Img", "Inpaint"):
        sibling = getattr(diffusers, cls.__name__.removesuffix("Pipeline") + f"{task}Pipeline", None)
        takes = inspect.signature(sibling.__call__).parameters if isinstance(sibling, type) else {}
        found.append(sibling if "strength" in takes else None)
    return found[0], found[1]


def _side(pipeline: Any) -> int:
    factor = int(getattr(pipeline, "vae_scale_factor", 8))
    transformer = getattr(pipeline, "transformer", None)
    if transformer is None:
        return factor
    patch = transformer.config.get("patch_size", 1)
    # Where latents are packed two by two, the transformer's own patches have a side of one.
    return factor * max(2, patch if isinstance(patch, int) else 1)


def _tokens(pipeline: Any, arguments: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, tokenizer in pipeline.components.items():
        if not name.startswith("tokenizer") or tokenizer is None:
            continue
        if "CLIP" not in type(tokenizer).__name__ and "max_sequence_length" in arguments:
            found[name] = int(arguments["max_sequence_length"].default)
        else:
            found[name] = min(int(tokenizer.model_max_length), TEXT_TOKENS)
    return found
