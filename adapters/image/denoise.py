"""One batch, from noise to pixels, in the model's thread: whatever the pipeline's class."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.engines.diffusers import Loaded, generator, to_bytes
from adapters.engines.errors import translated
from adapters.errors import UnsupportedOption
from adapters.image.batch_invariant import row_by_row
from adapters.image.capabilities import Capabilities
from adapters.image.inpainting import Blend
from adapters.image.loras import Loras
from adapters.image.options import Plan, Sources
from adapters.image.previews import outlook, previewer
from adapters.image.prompts import embed
from adapters.image.refiner import handover
from adapters.image.schedulers import Schedulers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SDXL = "StableDiffusionXL"
"""How the classes begin whose prompts are read here (`adapters/image/prompts.py`)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One picture of a batch."""

    prompt: str
    negative_prompt: str
    seed: int
    sources: Sources | None = None


Preview = Callable[[int], "NDArray[np.uint8]"]
"""uint8 [height, width, 3] of one row, as it will look."""
Told = Callable[[int, int, Preview], None]
"""Hears of each step: its number, 1..total, the total, and how to have a look. What it raises ends the work."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A loaded model that draws."""

    pipeline: Any
    can: Capabilities
    schedulers: Schedulers
    loras: Loras
    refiner: Any
    """None: it has none."""
    exact: bool
    """Whether rows of a batch are computed as if alone."""


def can_preview(parts: Parts) -> bool:
    """Whether latents on the way can be shown."""
    return previewer(parts.pipeline) is not None


def draw(loaded: Loaded[Any], parts: Parts, plan: Plan, rows: Sequence[Row], told: Told) -> "NDArray[np.uint8]":
    """The pictures of a batch.

    Args:
        loaded: Ends the work between two steps once the model is unloaded.
        parts: The model.
        plan: What the rows have in common.
        rows: The pictures.
        told: Hears of progress.

    Returns:
        uint8 [rows, height, width, 3].

    Raises:
        UnsupportedOption: The options do not go together with this model.
        OutOfMemory: It does not fit.
        GenerationFailed: The model failed.
        Interrupted: The model was unloaded, or `told` raised it.
    """
    import torch

    pipeline = _pipeline_for(parts, plan, rows)
    pipeline.scheduler = parts.schedulers.make(plan.scheduler)
    watch = _Watch(loaded, plan, told)
    with translated(), torch.no_grad(), parts.loras.applied(plan.loras), row_by_row(parts.exact):
        if plan.strength is not None and type(pipeline) is parts.can.edit is parts.can.inpaint:
            sources = [row.sources for row in rows if row.sources is not None and row.sources.mask is not None]
            watch.blend = Blend(pipeline, sources, [row.seed for row in rows]) if sources else None
        if not plan.refiner_steps:
            drawn = pipeline(**_arguments(pipeline, parts, plan, rows), callback_on_step_end=watch, output_type="np")
            return to_bytes(_unflagged(drawn))
        cut = handover(parts.schedulers.make(plan.scheduler), plan.steps, plan.refiner_steps)
        whole = {"num_inference_steps": plan.steps + plan.refiner_steps}
        watch.total = plan.steps + plan.refiner_steps
        latents = pipeline(
            **(_arguments(pipeline, parts, plan, rows) | whole),
            denoising_end=cut,
            callback_on_step_end=watch,
            output_type="latent",
        ).images
    # Without the LoRAs: they were made for the base.
    with translated(), torch.no_grad(), row_by_row(parts.exact):
        refiner = parts.refiner
        refiner.scheduler = parts.schedulers.make(plan.scheduler)
        watch.pass_on()
        arguments = _arguments(refiner, parts, plan, rows) | whole
        # As `image` it would take latents of four channels only; so that is blank, and never looked at.
        taken = {"image": torch.zeros(1, 3, 8, 8), "latents": latents, "denoising_start": cut}
        drawn = refiner(**arguments, **taken, callback_on_step_end=watch, output_type="np")
        return to_bytes(_unflagged(drawn))


class _Watch:
    """Called by a pipeline after each step."""

    def __init__(self, loaded: Loaded[Any], plan: Plan, told: Told) -> None:
        self.total = 0
        """Steps of all pipelines of this batch together; 0: as many as the pipeline says."""
        self.blend: Blend | None = None
        self._loaded = loaded
        self._plan = plan
        self._told = told
        self._done = 0
        self._before: Any = None

    def pass_on(self) -> None:
        """The next pipeline takes over."""
        self._before = None

    def __call__(self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """Tells of a step."""
        del timestep
        _ = self._loaded.pipeline  # raises, once the model is being unloaded
        self._done += 1
        before, latents = self._before, tensors["latents"]
        if self.blend is not None:
            times = pipeline.scheduler.timesteps[-int(pipeline.num_timesteps) :]
            later = times[step + 1] if step + 1 < len(times) else None
            latents = tensors["latents"] = self.blend(pipeline.scheduler, later, latents)
        self._before = latents

        def preview(row: int) -> Any:
            decode = previewer(pipeline)
            assert decode is not None, "checked before"
            shown = outlook(pipeline.scheduler, before, latents)[row : row + 1]
            return decode(pipeline, shown, self._plan.width, self._plan.height)

        self._told(self._done, self.total or int(pipeline.num_timesteps), preview)
        return tensors


def _pipeline_for(parts: Parts, plan: Plan, rows: Sequence[Row]) -> Any:
    """The pipeline itself, or one of another class over the same weights."""
    if plan.strength is None:
        return parts.pipeline
    sources = rows[0].sources
    cls = parts.can.inpaint if sources is not None and sources.mask is not None else parts.can.edit
    assert cls is not None, "checked before"
    if int(plan.steps * plan.strength) < 1:
        raise UnsupportedOption(
            f"{plan.steps} steps at strength {plan.strength:g} are less than one; ask for more.", param="strength"
        )
    # Its parts are shared; `from_pipe` would convert them all to one dtype.
    own = inspect.signature(cls.__init__).parameters
    extra = {"add_watermarker": False} if "add_watermarker" in own else {}
    settings = {name: value for name, value in parts.pipeline.config.items() if name in own and name not in extra}
    components = {name: part for name, part in parts.pipeline.components.items() if name in own}
    made = cls(**(settings | components | extra))
    made.set_progress_bar_config(disable=True)
    return made


def _arguments(pipeline: Any, parts: Parts, plan: Plan, rows: Sequence[Row]) -> dict[str, Any]:
    """What the pipeline is called with, of what its class takes."""
    takes = inspect.signature(type(pipeline).__call__).parameters
    wanted: dict[str, Any] = {
        "width": plan.width,
        "height": plan.height,
        "num_inference_steps": plan.steps,
        "generator": [generator(row.seed) for row in rows],
        "use_resolution_binning": False,  # it would draw another size and scale it
        "clean_caption": False,  # it would change the prompt, and needs a library that is not there
    }
    if parts.can.guidance:
        wanted[parts.can.guidance] = plan.guidance
    if parts.can.true_cfg and plan.true_cfg is not None:
        wanted["true_cfg_scale"] = plan.true_cfg
    if plan.strength is not None:
        sources = [row.sources for row in rows if row.sources is not None]
        wanted["strength"] = plan.strength
        wanted["image"] = [source.image for source in sources]
        wanted["mask_image"] = [source.mask for source in sources]
    arguments = {name: value for name, value in wanted.items() if name in takes}
    # Aesthetic scores and the like stay as the class has them: they are part of how a model was trained.
    return arguments | (_embedded(pipeline, rows) if type(pipeline).__name__.startswith(SDXL) else _texts(plan, rows))


def _texts(plan: Plan, rows: Sequence[Row]) -> dict[str, Any]:
    prompts = [row.prompt for row in rows]
    # Classifier-free guidance without a negative prompt is guidance away from saying nothing.
    negatives = [row.negative_prompt or (" " if plan.true_cfg or plan.guided else "") for row in rows]
    if len(set(zip(prompts, negatives, strict=True))) == 1:
        return {"prompt": prompts[0], "negative_prompt": negatives[0], "num_images_per_prompt": len(rows)}
    return {"prompt": prompts, "negative_prompt": negatives}


def _embedded(pipeline: Any, rows: Sequence[Row]) -> dict[str, Any]:
    import torch

    read: dict[tuple[str, str], Any] = {}
    for row in rows:
        texts = (row.prompt, row.negative_prompt)
        if texts not in read:
            read[texts] = embed(pipeline, *texts)
    pairs = [read[row.prompt, row.negative_prompt] for row in rows]
    return {
        "prompt_embeds": torch.cat([wanted.tokens for wanted, _ in pairs]),
        "pooled_prompt_embeds": torch.cat([wanted.pooled for wanted, _ in pairs]),
        "negative_prompt_embeds": torch.cat([unwanted.tokens for _, unwanted in pairs]),
        "negative_pooled_prompt_embeds": torch.cat([unwanted.pooled for _, unwanted in pairs]),
    }


def _unflagged(drawn: Any) -> Any:
    """The pictures, unless the model's own safety checker has blackened one."""
    if any(getattr(drawn, "nsfw_content_detected", None) or ()):
        raise UnsupportedOption("The model's safety checker refused what it had drawn.", param="prompt")
    return drawn.images
