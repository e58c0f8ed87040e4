"""The adapter: any text-to-image pipeline of diffusers."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from adapters.engines.diffusers import Loaded, device_of, load_pipeline
from adapters.engines.threads import Emit
from adapters.errors import Interrupted, ModelLoadFailed, UnsupportedOption
from adapters.image.batch_invariant import EXACT
from adapters.image.batching import Batcher, BatchEvent, BatchItem
from adapters.image.capabilities import capabilities, pipeline_class
from adapters.image.compile import apply_compile_options
from adapters.image.denoise import SDXL, LoadedModel, Preview, Row, can_preview, generate_batch
from adapters.image.init_images import decode_sources, restore_unmasked
from adapters.image.loras import Loras
from adapters.image.options import ImageOptions, Plan, Sources, check, plan, seeds_of
from adapters.image.previews import preview_steps
from adapters.image.prompts import PromptLengths
from adapters.image.refiner import CLASS, load_refiner
from adapters.image.schedulers import Schedulers
from adapters.media.decode_image import encode_image

BATCH = 4
"""Default number of images in a batch, as in the interface specification."""
DECODERS = 2
"""Number of uploads that are decoded at the same time."""


class DiffusersImage(ImageAdapter):
    """A text-to-image checkpoint in diffusers' layout, safetensors only, of the class that its model_index.json names.

    A seed gives the same noise on every device, and, with the option `exact_batches`, the same bytes alone and in a
    batch (`adapters/image/batch_invariant.py`). On another kind of machine, images may differ by rounding.
    """

    Options = ImageOptions

    def __init__(self, loaded: Loaded[Any], model: LoadedModel, options: ImageOptions) -> None:
        """Use `load`."""
        self._loaded = loaded
        self._options = options
        self._model = model
        windows = type(model.pipeline).__name__.startswith(SDXL)
        self._lengths = PromptLengths(model.pipeline, model.can.tokens, windows=windows)
        batches = type(model.pipeline).__name__ in EXACT and options.compile == "none"
        size = options.batch_size or (BATCH if batches else 1)
        self._batcher = Batcher(self._stream, size, options.collect_ms / 1000)
        self._decoding = asyncio.Semaphore(DECODERS)
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="encode")  # one, which keeps events in order

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """See `Adapter.load`."""
        options = ImageOptions.of(model)
        made: list[LoadedModel] = []

        def work() -> Any:
            made.append(_load(model, options))
            return made[0].pipeline

        report(LoadProgress("loading weights"))
        return cls(await Loaded[Any].start(model.name, work), made[0], options)

    async def unload(self) -> None:
        """See `Adapter.unload`."""
        self._batcher.close()
        del self._model
        await self._loaded.end()
        self._encoder.shutdown(wait=False)

    async def generate(self, request: ImageRequest) -> AsyncGenerator[ImageEvent]:
        """See `ImageAdapter.generate`."""
        if self._batcher.closed:
            raise Interrupted("The model was unloaded.")
        model = self._model
        check(request, model.can, model.schedulers, self._options)
        model.loras.check(request.loras)
        if request.refiner_steps and (model.refiner is None or not model.can.refiner):
            raise UnsupportedOption("This model has no refiner: leave refiner out.", param="refiner")
        if request.partial_images and not can_preview(model):
            raise UnsupportedOption(
                "This model does not support previews: set partial_images to 0.", param="partial_images"
            )
        lengths = await asyncio.to_thread(self._lengths.key, request.prompt, request.negative_prompt)
        sources, size = await self._sources(request)
        settings = plan(request, model.can, lengths, size)
        rows = [Row(request.prompt, request.negative_prompt, seed, sources) for seed in seeds_of(request)]
        async with aclosing(self._batcher.generate(request, settings, rows)) as events:
            async for event in events:
                yield event

    async def _sources(self, request: ImageRequest) -> tuple[Sources | None, tuple[int, int]]:
        if request.source is None:
            return None, (request.width or 0, request.height or 0)
        side, max_pixels = self._model.can.side, self._options.max_pixels
        async with self._decoding:
            return await asyncio.to_thread(decode_sources, request, side, max_pixels)

    def _stream(self, batch: Sequence[BatchItem]) -> AsyncGenerator[tuple[BatchItem, BatchEvent]]:
        model = self._model  # `unload` may delete the attribute before the thread starts with this batch
        return self._loaded.stream(lambda emit: self._work(model, batch, emit))

    def _work(self, model: LoadedModel, batch: Sequence[BatchItem], emit: Emit[tuple[BatchItem, BatchEvent]]) -> None:
        """Generates a batch, in the model's thread. Images are encoded in another, while it goes on."""

        def on_step(step: int, total: int, preview: Preview) -> None:
            if all(item.request.cancelled for item in batch):
                raise Interrupted("The request was cancelled.")
            for number, item in enumerate(batch):
                request = item.request.request
                emit((item, Step(step, total)))
                due = preview_steps(total, request.partial_images)
                if step in due and not item.request.cancelled:
                    emit((item, self._encoder.submit(_partial, item, due.index(step), preview(number))))

        settings: Plan = batch[0].request.plan
        generated = generate_batch(self._loaded, model, settings, [item.row for item in batch], on_step)
        for item, pixels in zip(batch, generated, strict=True):
            emit((item, self._encoder.submit(_generated, item, pixels)))


def _partial(item: BatchItem, number: int, pixels: Any) -> PartialImage:
    """A preview as a file."""
    request = item.request.request
    return PartialImage(item.index, number, encode_image(Image.fromarray(pixels), request.media_type, request.quality))


def _generated(item: BatchItem, pixels: Any) -> GeneratedImage:
    """A finished image as a file."""
    request, sources = item.request.request, item.row.sources
    image = Image.fromarray(pixels) if sources is None else restore_unmasked(pixels, sources)
    encoded = encode_image(image, request.media_type, request.quality)
    return GeneratedImage(item.index, encoded, item.row.seed, image.width, image.height)


def _load(model: ModelFiles, options: ImageOptions) -> LoadedModel:
    """Loads the pipeline and everything that belongs to it, in the model's thread."""
    cls = pipeline_class(model)
    extra = {"add_watermarker": False} if "add_watermarker" in inspect.signature(cls.__init__).parameters else {}
    # Models with a UNet were published in float16; diffusers decodes in float32 where their autoencoders need it.
    half = "float16" if "unet" in inspect.signature(cls.__init__).parameters else "bfloat16"
    pipeline = load_pipeline(cls, model, options, half, **extra)
    can = capabilities(pipeline)
    refiner = None
    if REFINER in model.components:
        if not can.refiner:
            raise ModelLoadFailed(
                f"The model {model.name} is a {cls.__name__}, which does not support the refiner {CLASS}."
            )
        refiner = load_refiner(pipeline, model, options)
    paths = {name.removeprefix(LORA): path for name, path in model.components.items() if name.startswith(LORA)}
    if paths and not can.loras:
        raise ModelLoadFailed(f"The model {model.name} is a {cls.__name__}, which does not support LoRAs.")
    apply_compile_options(pipeline, model, options)
    exact = device_of(options) == "cpu" if options.exact_batches is None else options.exact_batches
    exact = exact and options.compile == "none"
    return LoadedModel(pipeline, can, Schedulers(pipeline.scheduler), Loras(pipeline, paths), refiner, exact)
