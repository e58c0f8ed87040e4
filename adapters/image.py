"""Pictures by Stable Diffusion XL, on diffusers."""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, Self

from PIL import Image
from pydantic import Field

from adapters.base import (
    GeneratedImage,
    ImageAdapter,
    ImageDone,
    ImageEvent,
    ImageRequest,
    LoadProgress,
    ModelFiles,
    Report,
    Step,
)
from adapters.errors import UnsupportedOption
from adapters.media.images import encode_image
from adapters.pipelines import (
    Loaded,
    PipelineOptions,
    check_guidance,
    check_range,
    first_seed,
    generator,
    load_pipeline,
    to_bytes,
    translated,
    validated,
)
from adapters.prompts import embed
from adapters.threads import Emit

MIN_SIDE = 64
"""Pixels. Below, the lowest level of the UNet has no room."""


class DiffusersImage(ImageAdapter):
    """A Stable Diffusion XL checkpoint in diffusers' layout, safetensors only.

    A seed's noise is the same on every device and whatever else is drawn with it. Drawn one at a time, an image with
    its seed has the same bytes alone and as one of several. Drawn as one batch, the kernels of torch sum in another
    order, and a byte in some ten thousand differs by one.
    """

    class Options(PipelineOptions):
        """What the operator may set."""

        max_images: int = Field(10, ge=1)
        """The most images of one request."""
        batch_size: int | None = Field(None, ge=1)
        """How many images are denoised at once; None: 4 on a GPU, 1 on the CPU, which gains nothing by batches."""

    def __init__(self, loaded: Loaded[ImageEvent], options: Options) -> None:
        """For `load`, which makes the parts."""
        self._loaded = loaded
        self._options = options
        self._side_factor: int = loaded.pipeline.vae_scale_factor
        self._batch_size = options.batch_size or (4 if loaded.pipeline.device.type == "cuda" else 1)

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """See `Adapter.load`."""
        options = validated(cls.Options, model)

        def work() -> Any:
            from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

            # SDXL was published in float16, and diffusers then decodes in float32, as its autoencoder needs.
            return load_pipeline(StableDiffusionXLPipeline, model, options, "float16", add_watermarker=False)

        report(LoadProgress("loading weights"))
        return cls(await Loaded[ImageEvent].start(model.name, work), options)

    async def unload(self) -> None:
        """See `Adapter.unload`."""
        await self._loaded.end()

    async def generate(self, request: ImageRequest) -> AsyncGenerator[ImageEvent]:
        """See `ImageAdapter.generate`."""
        self._check(request)
        async with aclosing(self._loaded.stream(lambda emit: self._work(request, emit))) as events:
            async for event in events:
                yield event

    def _check(self, request: ImageRequest) -> None:
        options, factor = self._options, self._side_factor
        check_range("n", request.n, 1, options.max_images)
        check_range("num_inference_steps", request.num_inference_steps, 1, options.max_steps)
        check_guidance(request.guidance_scale, request.negative_prompt)
        if request.width % factor or request.height % factor or min(request.width, request.height) < MIN_SIDE:
            raise UnsupportedOption(
                f"Width and height must be multiples of {factor}, and at least {MIN_SIDE}.", param="size"
            )
        if request.width * request.height > options.max_pixels:
            raise UnsupportedOption(f"The size must not exceed {options.max_pixels:,} pixels.", param="size")

    def _work(self, request: ImageRequest, emit: Emit[ImageEvent]) -> None:
        """Draws the images, in the model's thread."""
        started = time.monotonic()
        first = first_seed(request.seed)
        seeds = [(first + index) % 2**32 for index in range(request.n)]
        for index, pixels in enumerate(self._batches(request, seeds, emit)):
            picture = encode_image(Image.fromarray(pixels), request.media_type)
            emit(GeneratedImage(index, picture, seeds[index], request.width, request.height))
        emit(ImageDone((time.monotonic() - started) * 1000))

    def _batches(self, request: ImageRequest, seeds: list[int], emit: Emit[ImageEvent]) -> Iterator[Any]:
        """uint8 [height, width, 3] of each image in turn."""
        pipeline, size = self._loaded.pipeline, self._batch_size
        batches = [seeds[start : start + size] for start in range(0, len(seeds), size)]
        with translated():
            wanted, unwanted = embed(pipeline, request.prompt, request.negative_prompt)
        for number, batch in enumerate(batches):

            def on_step(
                _: Any, step: int, timestep: Any, tensors: dict[str, Any], number: int = number
            ) -> dict[str, Any]:
                total = self._loaded.pipeline.num_timesteps
                emit(Step(number * total + step + 1, len(batches) * total))
                return tensors

            with translated():
                drawn: Any = pipeline(
                    prompt_embeds=wanted.tokens.repeat(len(batch), 1, 1),
                    pooled_prompt_embeds=wanted.pooled.repeat(len(batch), 1),
                    negative_prompt_embeds=unwanted.tokens.repeat(len(batch), 1, 1),
                    negative_pooled_prompt_embeds=unwanted.pooled.repeat(len(batch), 1),
                    width=request.width,
                    height=request.height,
                    num_inference_steps=request.num_inference_steps,
                    guidance_scale=request.guidance_scale,
                    generator=[generator(seed) for seed in batch],
                    output_type="np",
                    callback_on_step_end=on_step,
                )
                pixels = to_bytes(drawn.images)
            yield from pixels
