"""What a text-to-image pipeline can do, read once from its class and components."""

import inspect
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.base import ModelFiles
from adapters.errors import ModelLoadFailed

NEEDED = frozenset(
    ("prompt", "width", "height", "num_inference_steps", "generator", "output_type", "callback_on_step_end")
)
"""Arguments that a pipeline must have: text prompts, sizes, steps with callbacks, and seeds."""
UNET_LATENTS = 4
"""Latent channels that diffusers' inpainting pipelines with a UNet support."""
TEXT_TOKENS = 512
"""Maximum tokens of a text encoder if the pipeline does not define another limit."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one pipeline can do."""

    guidance: str | None
    """The argument for classifier-free guidance: "guidance_scale" or "true_cfg_scale"; None: not supported."""
    default_guidance: float
    default_steps: int
    true_cfg: bool
    """Whether guidance is distilled (`guidance_scale`), and classifier-free guidance is available in addition."""
    negative_prompt: bool
    refiner: bool
    """Whether it can stop early and return its latents."""
    loras: bool
    side: int
    """Width and height are multiples of this, in pixels."""
    edit: type[Any] | None
    """The image-to-image pipeline for the same weights."""
    inpaint: type[Any] | None
    """The inpainting pipeline; if it is `edit`, `adapters/image/inpainting.py` applies the mask."""
    tokens: Mapping[str, int]
    """Maximum tokens of each text encoder by the name of its tokenizer; the pipeline truncates longer prompts."""


def pipeline_class(model: ModelFiles) -> type[Any]:
    """The diffusers class that a checkpoint names.

    Raises:
        ModelLoadFailed: The checkpoint names no class, or one that does not generate images from text only.
    """
    try:
        index: Any = json.loads((Path(model.path) / "model_index.json").read_text("utf-8"))
        name = index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelLoadFailed(
            f"The model {model.name} is not a diffusers pipeline: it has no model_index.json that names its class."
        ) from None
    cls = _find(name)
    if cls is None:
        raise ModelLoadFailed(f"The pipeline class of the model {model.name} does not exist in diffusers.")
    arguments = inspect.signature(cls.__call__).parameters
    if not generates_from_text(arguments.keys(), _required(arguments)):
        raise ModelLoadFailed(f"The model {model.name} is a {name}, which does not generate images from text only.")
    return cls


def _find(name: Any) -> type[Any] | None:
    """A pipeline class of diffusers."""
    import diffusers
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    try:
        cls = getattr(diffusers, name, None) if isinstance(name, str) and name.endswith("Pipeline") else None
    except Exception:  # classes are imported when they are named, and some need libraries that are not installed
        return None
    return cls if isinstance(cls, type) and issubclass(cls, DiffusionPipeline) else None


def generates_from_text(arguments: Set[str], required: Set[str]) -> bool:
    """Whether a pipeline whose call has these arguments generates images from text only."""
    return arguments >= NEEDED and "num_frames" not in arguments and not required - {"prompt"}


def _required(arguments: Any) -> set[str]:
    """Arguments without a default."""
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name for name, one in arguments.items() if one.default is one.empty and one.kind in plain} - {"self"}


def capabilities(pipeline: Any) -> Capabilities:
    """What a loaded pipeline can do."""
    arguments = inspect.signature(type(pipeline).__call__).parameters
    denoiser = getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)
    config: Any = getattr(denoiser, "config", {})
    distilled = bool(config.get("guidance_embeds"))
    guidance = "guidance_scale" if "guidance_scale" in arguments else None
    if "true_cfg_scale" in arguments and not distilled:
        guidance = "true_cfg_scale"
    # Latent consistency models take the scale as an input, and ignore the negative prompt.
    as_input = config.get("time_cond_proj_dim") is not None
    edit, inpaint = _siblings(type(pipeline))
    if inpaint is not None and "unet" in pipeline.components and config.get("in_channels") != UNET_LATENTS:
        inpaint = edit
    return Capabilities(
        guidance=guidance,
        default_guidance=float(arguments[guidance].default if guidance else 0),
        default_steps=int(arguments["num_inference_steps"].default),
        true_cfg=distilled and "true_cfg_scale" in arguments,
        negative_prompt="negative_prompt" in arguments and not as_input,
        refiner="denoising_end" in arguments,
        loras=hasattr(pipeline, "load_lora_weights"),
        side=_side(pipeline),
        edit=edit,
        inpaint=inpaint,
        tokens=_tokens(pipeline, arguments),
    )


def _siblings(cls: type[Any]) -> tuple[type[Any] | None, type[Any] | None]:
    """The image-to-image and inpainting pipelines of a class, if diffusers has them and they take a `strength`.

    They are found by naming convention: diffusers' own tables would import all pipelines.
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
    # If latents are packed two by two, the transformer's patch size is one.
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
