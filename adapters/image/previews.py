"""Previews of unfinished images, decoded from their latents."""

import inspect
from collections.abc import Callable
from typing import Any

from adapters.engines.diffusers import images_to_bytes

PACKED = ("latents", "height", "width", "vae_scale_factor")
"""Parameters of `_unpack_latents` in pipelines that pack two by two latents into one token."""


def preview_decoder(pipeline: Any) -> Callable[[Any, Any, int, int], Any] | None:
    """A function that decodes a pipeline's latents as the pipeline itself does; None: not supported.

    The function takes the pipeline, latents of one image, and its width and height in pixels, and returns
    uint8 [height, width, 3].
    """
    unpack = getattr(type(pipeline), "_unpack_latents", None)
    packed = unpack is not None
    if packed and tuple(inspect.signature(unpack).parameters) != PACKED:
        return None
    kind = type(getattr(pipeline, "vae", None)).__name__
    if kind not in ("AutoencoderKL", "AutoencoderKLQwenImage") or not hasattr(pipeline, "image_processor"):
        return None
    scaled = _by_factor if kind == "AutoencoderKL" else _by_channel

    def decode(pipeline: Any, latents: Any, width: int, height: int) -> Any:
        vae = pipeline.vae
        if packed:
            latents = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
        upcast = str(vae.dtype) == "torch.float16" and vae.config.get("force_upcast")
        if upcast:
            pipeline.upcast_vae()
        try:
            dtype = next(iter(vae.decoder.parameters())).dtype
            pixels = vae.decode(scaled(vae, latents.to(dtype)), return_dict=False)[0]
        finally:
            if upcast:
                vae.to(dtype=latents.dtype)
        pixels = pixels[:, :, 0] if pixels.dim() == 5 else pixels
        return images_to_bytes(pipeline.image_processor.postprocess(pixels.detach(), output_type="pt"))[0]

    return decode


def _by_factor(vae: Any, latents: Any) -> Any:
    import torch

    config = vae.config
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is not None and std is not None:
        shape = (1, -1, 1, 1)
        mean, std = (torch.tensor(one).view(shape).to(latents) for one in (mean, std))
        return latents * std / config["scaling_factor"] + mean
    return latents / config["scaling_factor"] + (config.get("shift_factor") or 0)


def _by_channel(vae: Any, latents: Any) -> Any:
    import torch

    mean, std = (torch.tensor(vae.config[f"latents_{one}"]).view(1, -1, 1, 1, 1).to(latents) for one in ("mean", "std"))
    return latents * std + mean


def estimate_final(scheduler: Any, before: Any, after: Any) -> Any:
    """Estimates the final latents from those of one step.

    A step of Euler's method moves in a straight line towards the model's prediction, so two latents determine it:
    x0 = x + s (x - x') / (s' - s), with noise levels s before and s' after (arXiv 2206.00364). Multistep solvers
    store the prediction. For others, and for the first step, the latents themselves are used, scaled for the decoder.

    Args:
        scheduler: The scheduler of the step.
        before: Latents before the step; None: it was the first.
        after: Latents after the step.
    """
    import torch

    name = type(scheduler).__name__
    outputs = getattr(scheduler, "model_outputs", None)
    if outputs and isinstance(outputs[-1], torch.Tensor) and outputs[-1].shape == after.shape:
        return outputs[-1]
    if not name.endswith(("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler")):
        return after
    at = scheduler.step_index
    if at is None or at + 1 > len(scheduler.sigmas):
        return after
    old, new = float(scheduler.sigmas[at - 1]), float(scheduler.sigmas[at])
    if before is not None and old > new and not name.startswith("EulerAncestral"):
        return before + old * (after - before) / (old - new)
    return after if name.startswith("FlowMatch") else after / (new**2 + 1) ** 0.5


def preview_steps(total: int, wanted: int) -> list[int]:
    """The steps, 1..total-1, after which previews are due: evenly spread; fewer if there are few steps.

    Examples:
        >>> preview_steps(8, 3), preview_steps(30, 1), preview_steps(2, 3), preview_steps(1, 2)
        ([2, 4, 6], [15], [1], [])
    """
    return sorted({round(total * (number + 1) / (wanted + 1)) for number in range(wanted)} & set(range(1, total)))
