"""Memory format and compilation of a pipeline's networks."""

from typing import Any

from adapters.base import LORA, ModelFiles
from adapters.errors import ModelLoadFailed
from adapters.image.options import ImageOptions


def apply_compile_options(pipeline: Any, model: ModelFiles, options: ImageOptions) -> None:
    """Applies `channels_last` and `compile` to a pipeline in memory.

    Compilation happens during the first steps, and again for each new size.

    Raises:
        ModelLoadFailed: The model does not support an option.
    """
    import torch

    denoiser: Any = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    if options.channels_last:
        networks = [one for one in (denoiser, getattr(pipeline, "vae", None)) if one is not None]
        if any(weight.dim() == 5 for one in networks for weight in one.parameters()):
            raise ModelLoadFailed(
                f"The model {model.name} has 3D convolutions, which channels_last does not support: remove the option."
            )
        for network in networks:
            network.to(memory_format=torch.channels_last)
    if options.compile == "none":
        return
    if any(part.startswith(LORA) for part in model.components):
        raise ModelLoadFailed(
            f"The model {model.name} has LoRAs, which do not work with compile: remove the LoRAs or the option."
        )
    if options.compile == "full":
        denoiser.compile()
        return
    if not getattr(denoiser, "_repeated_blocks", None):
        raise ModelLoadFailed(
            f"The denoiser of the model {model.name} defines no repeated blocks: set compile to full."
        )
    denoiser.compile_repeated_blocks()
