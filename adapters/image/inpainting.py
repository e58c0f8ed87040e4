"""Inpainting for models whose latents diffusers' inpainting pipeline does not support.

diffusers' inpainting with UNets needs latents of four channels. Here the image-to-image pipeline runs, and after each
step everything outside the mask is replaced by the source image at that noise level (arXiv 2201.09865).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.engines.diffusers import generator
from adapters.image.options import Sources

SALT = 0x9E3779B9
"""Makes the noise added outside the mask differ from the initial noise."""


class Blend:
    """Keeps the latents outside of a batch's masks."""

    def __init__(self, pipeline: Any, sources: Sequence[Sources], seeds: Sequence[int]) -> None:
        """Encodes the images.

        Args:
            pipeline: An image-to-image pipeline.
            sources: One per row, with masks.
            seeds: One per row.
        """
        import torch

        self._kept = torch.cat([_encode(pipeline, source.image) for source in sources])
        shape = self._kept.shape[1:]
        self._noise = torch.cat(
            [torch.randn((1, *shape), generator=generator(seed ^ SALT)).to(self._kept) for seed in seeds]
        )
        masks = [torch.from_numpy(np.asarray(source.mask, dtype="float32") / 255)[None, None] for source in sources]
        # A latent is editable if any of its pixels is.
        self._mask = torch.cat([torch.nn.functional.adaptive_max_pool2d(mask, shape[1:]) for mask in masks])
        self._mask = self._mask.to(self._kept)

    def __call__(self, scheduler: Any, timestep_after: Any, latents: Any) -> Any:
        """The latents of a step, with those of the source image outside the mask.

        Args:
            scheduler: The scheduler of the step.
            timestep_after: The timestep of the latents; None: the step was the last.
            latents: [rows, channels, height, width].
        """
        kept = self._kept.to(latents)
        if timestep_after is not None:
            times = timestep_after.repeat(len(latents))
            kept = scheduler.add_noise(kept, self._noise.to(latents), times)
        mask = self._mask.to(latents)
        return mask * latents + (1 - mask) * kept


def _encode(pipeline: Any, image: Any) -> Any:
    """Latents of one image, scaled for the denoiser."""
    import torch

    vae = pipeline.vae
    upcast = vae.dtype == torch.float16 and vae.config.get("force_upcast")
    pixels = pipeline.image_processor.preprocess(image).to(vae.device, torch.float32 if upcast else vae.dtype)
    if upcast:
        vae.to(dtype=torch.float32)
    try:
        latents = vae.encode(pixels).latent_dist.mode()
    finally:
        if upcast:
            vae.to(dtype=torch.float16)
    mean, std = vae.config.get("latents_mean"), vae.config.get("latents_std")
    if mean is not None and std is not None:
        mean, std = (torch.tensor(one).view(1, -1, 1, 1).to(latents) for one in (mean, std))
        latents = (latents - mean) / std
    return latents * vae.config.scaling_factor
