"""Generating one batch, from noise to pixels, with any pipeline class. Runs in the model's thread."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.engines.diffusers import Loaded, generator, images_to_bytes
from adapters.engines.errors import translated
from adapters.errors import UnsupportedOption
from adapters.image.batch_invariant import image_by_image
from adapters.image.capabilities import Capabilities
from adapters.image.inpainting import Blend
from adapters.image.loras import Loras
from adapters.image.options import Plan, Sources
from adapters.image.previews import estimate_final, preview_decoder
from adapters.image.prompts import embed
from adapters.image.refiner import handover
from adapters.image.schedulers import Schedulers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SDXL = "StableDiffusionXL"
"""Prefix of the classes whose prompts `adapters/image/prompts.py` encodes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a batch."""

    prompt: str
    negative_prompt: str
    seed: int
    sources: Sources | None = None


Preview = Callable[[int], "NDArray[np.uint8]"]
"""Returns the preview of a row: uint8 [height, width, 3]."""
OnStep = Callable[[int, int, Preview], None]
"""Called after each step with its number (1..total), the total, and a function for previews. Exceptions stop it."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A pipeline in memory, and everything that belongs to it."""

    pipeline: Any
    can: Capabilities
    schedulers: Schedulers
    loras: Loras
    refiner: Any
    """A pipeline, or None."""
    exact: bool
    """Whether batches are computed image by image (`batch_invariant`)."""


def can_preview(model: LoadedModel) -> bool:
    """Whether intermediate latents can be decoded."""
    return preview_decoder(model.pipeline) is not None


def generate_batch(
    loaded: Loaded[Any], model: LoadedModel, plan: Plan, rows: Sequence[Row], on_step: OnStep
) -> "NDArray[np.uint8]":
    """Generates the images of a batch.

    Args:
        loaded: Raises between two steps once the model is unloaded.
        model: The model.
        plan: The settings that the rows share.
        rows: The images.
        on_step: Called after each step.

    Returns:
        uint8 [rows, height, width, 3].

    Raises:
        UnsupportedOption: The model does not support this combination of options.
        OutOfMemory: It does not fit.
        GenerationFailed: The model failed.
        Interrupted: The model was unloaded, or `on_step` raised it.
    """
    import torch

    pipeline = _pipeline_for(model, plan, rows)
    pipeline.scheduler = model.schedulers.make(plan.scheduler)
    callback = _StepCallback(loaded, plan, on_step)
    images = len(rows) if model.exact else 0
    with translated(), torch.no_grad(), model.loras.applied(plan.loras), ExitStack() as stack:
        if plan.strength is not None and type(pipeline) is model.can.edit is model.can.inpaint:
            sources = [row.sources for row in rows if row.sources is not None and row.sources.mask is not None]
            callback.blend = Blend(pipeline, sources, [row.seed for row in rows]) if sources else None
        arguments = _arguments(pipeline, model, plan, rows)  # prompts are encoded one by one, whatever the batch
        stack.enter_context(image_by_image(images))
        if not plan.refiner_steps:
            return images_to_bytes(_checked(pipeline(**arguments, callback_on_step_end=callback, output_type="pt")))
        switch = handover(model.schedulers.make(plan.scheduler), plan.steps, plan.refiner_steps)
        steps = {"num_inference_steps": plan.steps + plan.refiner_steps}
        callback.total = plan.steps + plan.refiner_steps
        latents = pipeline(
            **(arguments | steps),
            denoising_end=switch,
            callback_on_step_end=callback,
            output_type="latent",
        ).images
    # Without LoRAs, which are made for the base model.
    with translated(), torch.no_grad():
        refiner = model.refiner
        refiner.scheduler = model.schedulers.make(plan.scheduler)
        callback.next_pipeline()
        arguments = _arguments(refiner, model, plan, rows) | steps
        # `image` would accept latents of four channels only; with `latents` given, it is required but not used.
        arguments |= {"image": torch.zeros(1, 3, 8, 8), "latents": latents, "denoising_start": switch}
        with image_by_image(images):
            return images_to_bytes(_checked(refiner(**arguments, callback_on_step_end=callback, output_type="pt")))


class _StepCallback:
    """Called by a pipeline after each step."""

    def __init__(self, loaded: Loaded[Any], plan: Plan, on_step: OnStep) -> None:
        self.total = 0
        """Steps of all pipelines of this batch; 0: the pipeline's own number."""
        self.blend: Blend | None = None
        self._loaded = loaded
        self._plan = plan
        self._on_step = on_step
        self._done = 0
        self._before: Any = None

    def next_pipeline(self) -> None:
        """Resets what belongs to the previous pipeline."""
        self._before = None

    def __call__(self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        del timestep
        _ = self._loaded.pipeline  # raises once the model is being unloaded
        self._done += 1
        before, latents = self._before, tensors["latents"]
        if self.blend is not None:
            times = pipeline.scheduler.timesteps[-int(pipeline.num_timesteps) :]
            later = times[step + 1] if step + 1 < len(times) else None
            latents = tensors["latents"] = self.blend(pipeline.scheduler, later, latents)
        self._before = latents

        def preview(row: int) -> Any:
            decode = preview_decoder(pipeline)
            assert decode is not None, "checked before"
            final = estimate_final(pipeline.scheduler, before, latents)[row : row + 1]
            return decode(pipeline, final, self._plan.width, self._plan.height)

        self._on_step(self._done, self.total or int(pipeline.num_timesteps), preview)
        return tensors


def _pipeline_for(model: LoadedModel, plan: Plan, rows: Sequence[Row]) -> Any:
    """The pipeline itself, or one of another class with the same weights."""
    if plan.strength is None:
        return model.pipeline
    sources = rows[0].sources
    cls = model.can.inpaint if sources is not None and sources.mask is not None else model.can.edit
    assert cls is not None, "checked before"
    if int(plan.steps * plan.strength) < 1:
        raise UnsupportedOption(
            f"{plan.steps} steps at strength {plan.strength:g} are less than one step; raise strength or the steps.",
            param="strength",
        )
    # The components are shared; `from_pipe` would convert them all to one dtype.
    own = inspect.signature(cls.__init__).parameters
    extra = {"add_watermarker": False} if "add_watermarker" in own else {}
    settings = {name: value for name, value in model.pipeline.config.items() if name in own and name not in extra}
    components = {name: one for name, one in model.pipeline.components.items() if name in own}
    made = cls(**(settings | components | extra))
    made.set_progress_bar_config(disable=True)
    return made


def _arguments(pipeline: Any, model: LoadedModel, plan: Plan, rows: Sequence[Row]) -> dict[str, Any]:
    """The arguments of the pipeline's call that its class supports."""
    parameters = inspect.signature(type(pipeline).__call__).parameters
    wanted: dict[str, Any] = {
        "width": plan.width,
        "height": plan.height,
        "num_inference_steps": plan.steps,
        "generator": [generator(row.seed) for row in rows],
        "use_resolution_binning": False,  # it would generate another size and scale it
        "clean_caption": False,  # it would change the prompt, and needs a library that is not installed
    }
    if model.can.guidance:
        wanted[model.can.guidance] = plan.guidance
    if model.can.true_cfg and plan.true_cfg is not None:
        wanted["true_cfg_scale"] = plan.true_cfg
    if plan.strength is not None:
        sources = [row.sources for row in rows if row.sources is not None]
        wanted["strength"] = plan.strength
        wanted["image"] = [source.image for source in sources]
        wanted["mask_image"] = [source.mask for source in sources]
    arguments = {name: value for name, value in wanted.items() if name in parameters}
    # Aesthetic scores and the like keep the class's defaults: the model was trained with them.
    return arguments | (_embedded(pipeline, rows) if type(pipeline).__name__.startswith(SDXL) else _texts(plan, rows))


def _texts(plan: Plan, rows: Sequence[Row]) -> dict[str, Any]:
    prompts = [row.prompt for row in rows]
    # Classifier-free guidance needs some negative prompt, even an empty one.
    negatives = [row.negative_prompt or (" " if plan.true_cfg or plan.guided else "") for row in rows]
    if len(set(zip(prompts, negatives, strict=True))) == 1:
        return {"prompt": prompts[0], "negative_prompt": negatives[0], "num_images_per_prompt": len(rows)}
    return {"prompt": prompts, "negative_prompt": negatives}


def _embedded(pipeline: Any, rows: Sequence[Row]) -> dict[str, Any]:
    import torch

    embedded: dict[tuple[str, str], Any] = {}
    for row in rows:
        texts = (row.prompt, row.negative_prompt)
        if texts not in embedded:
            embedded[texts] = embed(pipeline, *texts)
    pairs = [embedded[row.prompt, row.negative_prompt] for row in rows]
    return {
        "prompt_embeds": torch.cat([wanted.tokens for wanted, _ in pairs]),
        "pooled_prompt_embeds": torch.cat([wanted.pooled for wanted, _ in pairs]),
        "negative_prompt_embeds": torch.cat([unwanted.tokens for _, unwanted in pairs]),
        "negative_pooled_prompt_embeds": torch.cat([unwanted.pooled for _, unwanted in pairs]),
    }


def _checked(output: Any) -> Any:
    """The images, unless the model's own safety checker has rejected one."""
    if any(getattr(output, "nsfw_content_detected", None) or ()):
        raise UnsupportedOption("The model's safety checker rejected the image. Change the prompt.", param="prompt")
    return output.images
