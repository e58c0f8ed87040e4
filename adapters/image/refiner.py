"""The refiner of Stable Diffusion XL: a second model for the last denoising steps.

See section 2.5 of arXiv 2307.01952.
"""

from pathlib import Path
from typing import Any

from adapters.base import REFINER, ModelFiles
from adapters.engines.diffusers import load_pipeline
from adapters.engines.shared_components import shared_components
from adapters.errors import ModelLoadFailed, UnsupportedOption
from adapters.image.options import ImageOptions

CLASS = "StableDiffusionXLImg2ImgPipeline"


def load_refiner(base: Any, model: ModelFiles, options: ImageOptions) -> Any:
    """Loads the refiner of a base model; components with equal files are shared. Blocks.

    Raises:
        ModelLoadFailed: It is not a refiner, or its latents differ from the base model's.
        OutOfMemory: It does not fit.
    """
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_img2img import (
        StableDiffusionXLImg2ImgPipeline,
    )

    path = model.components[REFINER]
    shared = {name: base.components[name] for name in shared_components(Path(model.path), Path(path))}
    files = ModelFiles(f"{model.name}'s refiner", model.backend, path, model.options, model.devices)
    refiner = load_pipeline(
        StableDiffusionXLImg2ImgPipeline, files, options, "float16", add_watermarker=False, **shared
    )
    if refiner.unet.config.in_channels != base.unet.config.in_channels or (
        refiner.vae.config.scaling_factor != base.vae.config.scaling_factor
    ):
        raise ModelLoadFailed(f"The refiner of the model {model.name} uses different latents than the model.")
    return refiner


def handover(scheduler: Any, base_steps: int, refiner_steps: int) -> float:
    """The point where the refiner continues, as the fraction of noise levels that the base model covers: 0..1.

    It lies between two steps, so that each model makes exactly the requested number of steps.

    Raises:
        UnsupportedOption: The scheduler calls the model more than once per step.
    """
    scheduler.set_timesteps(base_steps + refiner_steps)
    times = scheduler.timesteps.tolist()
    if len(times) != base_steps + refiner_steps:
        raise UnsupportedOption(
            "This scheduler does not work with a refiner: choose another scheduler, or leave refiner out.",
            param="scheduler",
        )
    return 1 - (times[base_steps - 1] + times[base_steps]) / 2 / scheduler.config.num_train_timesteps
