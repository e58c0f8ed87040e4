"""The adapter: loading any text-to-image pipeline of diffusers, and drawing with it."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Self

from PIL import Image

from adapters.base import (
    LORA,
    REFINER,
    GeneratedImage,
    ImageAdapter,
    ImageEvent,
    ImageRequest,
    LoadProgress,
    ModelFiles,
    PartialImage,
    Report,
    Step,
)
from adapters.engines.diffusers import Loaded, load_pipeline
from adapters.engines.threads import Emit
from adapters.errors import Interrupted, ModelLoadFailed, UnsupportedOption
from adapters.image.batch_invariant import EXACT
from adapters.image.batching import Collector, Ticket
from adapters.image.capabilities import capabilities, pipeline_class
from adapters.image.compile import arrange
from adapters.image.denoise import SDXL, Parts, Preview, Row, can_preview, draw
from adapters.image.init_images import keep_rest, read_sources
from adapters.image.loras import Loras
from adapters.image.options import ImageOptions, Plan, Sources, check, plan, seeds_of
from adapters.image.previews import moments
from adapters.image.prompts import Lengths
from adapters.image.refiner import CLASS, load_refiner
from adapters.image.schedulers import Schedulers
from adapters.media.decode_image import encode_image

BATCH = 4
"""Images at once, where nobody says otherwise: the seed's number."""
DECODERS = 2
"""Uploads that are decoded at a time."""


class DiffusersImage(ImageAdapter):
    """A text-to-image checkpoint in diffusers' layout, safetensors only, of the class that its model_index.json names.

    A seed's noise is the same on every device and whatever else is drawn with it, and so are the picture's bytes, in
    whatever company (`adapters/image/batch_invariant.py`); on another kind of machine they may differ in roundings.
    """

    Options = ImageOptions

    def __init__(self, loaded: Loaded[Any], parts: Parts, options: ImageOptions) -> None:
        """For `load`, which makes the parts."""
        self._loaded = loaded
        self._options = options
        self._parts = parts
        windows = type(parts.pipeline).__name__.startswith(SDXL)
        self._lengths = Lengths(parts.pipeline, parts.can.tokens, windows=windows)
        by_itself = type(parts.pipeline).__name__ in EXACT and options.compile == "none"
        size = options.batch_size or (BATCH if by_itself else 1)
        self._collector = Collector(self._stream, size, options.collect_ms / 1000)
        self._decoding = asyncio.Semaphore(DECODERS)

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """See `Adapter.load`."""
        options = ImageOptions.of(model)
        made: list[Parts] = []

        def work() -> Any:
            made.append(_load(model, options))
            return made[0].pipeline

        report(LoadProgress("loading weights"))
        return cls(await Loaded[Any].start(model.name, work), made[0], options)

    async def unload(self) -> None:
        """See `Adapter.unload`."""
        self._collector.end()
        del self._parts
        await self._loaded.end()

    async def generate(self, request: ImageRequest) -> AsyncGenerator[ImageEvent]:
        """See `ImageAdapter.generate`."""
        if self._collector.ended:
            raise Interrupted("The model was unloaded.")
        parts = self._parts
        check(request, parts.can, parts.schedulers, self._options)
        parts.loras.check(request.loras)
        if request.refiner_steps and (parts.refiner is None or not parts.can.refiner):
            raise UnsupportedOption("This model has no refiner.", param="refiner")
        if request.partial_images and not can_preview(parts):
            raise UnsupportedOption("What this model draws cannot be shown before it is done.", param="partial_images")
        lengths = await asyncio.to_thread(self._lengths.key, request.prompt, request.negative_prompt)
        sources, size = await self._sources(request)
        what = plan(request, parts.can, lengths, size)
        rows = [Row(request.prompt, request.negative_prompt, seed, sources) for seed in seeds_of(request)]
        async with aclosing(self._collector.draw(request, what, rows)) as events:
            async for event in events:
                yield event

    async def _sources(self, request: ImageRequest) -> tuple[Sources | None, tuple[int, int]]:
        if request.source is None:
            return None, (request.width or 0, request.height or 0)
        side, most = self._parts.can.side, self._options.max_pixels
        async with self._decoding:
            return await asyncio.to_thread(read_sources, request, side, most)

    def _stream(self, batch: Sequence[Ticket]) -> AsyncGenerator[tuple[Ticket, ImageEvent]]:
        parts = self._parts  # unloading forgets them, perhaps before the thread gets to this batch
        return self._loaded.stream(lambda emit: self._work(parts, batch, emit))

    def _work(self, parts: Parts, batch: Sequence[Ticket], emit: Emit[tuple[Ticket, ImageEvent]]) -> None:
        """Draws a batch, in the model's thread."""

        def told(step: int, total: int, preview: Preview) -> None:
            if all(ticket.order.gone for ticket in batch):
                raise Interrupted("The request was cancelled.")
            for number, ticket in enumerate(batch):
                request = ticket.order.request
                emit((ticket, Step(step, total)))
                due = moments(total, request.partial_images)
                if step in due and not ticket.order.gone:
                    shown = encode_image(Image.fromarray(preview(number)), request.media_type, request.quality)
                    emit((ticket, PartialImage(ticket.index, due.index(step), shown)))

        what: Plan = batch[0].order.plan
        drawn = draw(self._loaded, parts, what, [ticket.row for ticket in batch], told)
        for ticket, pixels in zip(batch, drawn, strict=True):
            request, sources = ticket.order.request, ticket.row.sources
            picture = Image.fromarray(pixels) if sources is None else keep_rest(pixels, sources)
            encoded = encode_image(picture, request.media_type, request.quality)
            emit((ticket, GeneratedImage(ticket.index, encoded, ticket.row.seed, picture.width, picture.height)))


def _load(model: ModelFiles, options: ImageOptions) -> Parts:
    """The pipeline and all that belongs to it, in the model's thread."""
    cls = pipeline_class(model)
    extra = {"add_watermarker": False} if "add_watermarker" in inspect.signature(cls.__init__).parameters else {}
    # Models of UNets were published in float16, and diffusers then decodes in float32, as their autoencoders need.
    half = "float16" if "unet" in inspect.signature(cls.__init__).parameters else "bfloat16"
    pipeline = load_pipeline(cls, model, options, half, **extra)
    can = capabilities(pipeline)
    refiner = None
    if REFINER in model.components:
        if not can.refiner:
            raise ModelLoadFailed(f"The model {model.name} is a {cls.__name__}, which cannot hand over to a {CLASS}.")
        refiner = load_refiner(pipeline, model, options)
    paths = {name.removeprefix(LORA): path for name, path in model.components.items() if name.startswith(LORA)}
    if paths and not can.loras:
        raise ModelLoadFailed(f"The model {model.name} is a {cls.__name__}, which takes no LoRAs.")
    arrange(pipeline, model, options)
    exact = options.exact_batches and options.compile == "none"
    return Parts(pipeline, can, Schedulers(pipeline.scheduler), Loras(pipeline, paths), refiner, exact)
