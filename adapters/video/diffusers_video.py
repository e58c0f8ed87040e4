"""The adapter: LTX-Video, LTX-2 and Wan on diffusers."""

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, ExitStack, aclosing, nullcontext
from dataclasses import dataclass
from typing import Any, Self

from PIL import Image
from pydantic import Field

from adapters.base import (
    GeneratedVideo,
    LoadProgress,
    Media,
    ModelFiles,
    Report,
    Step,
    VideoAdapter,
    VideoEvent,
    VideoRequest,
)
from adapters.engines.diffusers import (
    Loaded,
    PipelineOptions,
    check_guidance,
    check_range,
    first_seed,
    generator,
    images_to_bytes,
    load_pipeline,
)
from adapters.engines.errors import translated
from adapters.engines.threads import Emit
from adapters.errors import UnsupportedOption
from adapters.media.decode_image import encode_image
from adapters.media.encode_video import VideoEncoder
from adapters.media.join_video import first_frames
from adapters.video.capabilities import capabilities, check_inputs, pipeline_class
from adapters.video.keyframes import decode_keyframes, keyframe_arguments, pipeline_for
from adapters.video.ltx2 import encode_soundtrack, generates_audio, guidance
from adapters.video.tiled_decode import decode_in_tiles, supports_tiles


def nearest(value: int, step: int, offset: int = 0) -> int:
    """The nearest number of the form k * step + offset, halves rounded up; k is at least 0, or 1 if offset is 0.

    Examples:
        >>> nearest(720, 32), nearest(121, 8, 1), nearest(120, 8, 1), nearest(5, 8, 1), nearest(1, 32)
        (736, 121, 121, 9, 32)
    """
    return max(0 if offset else 1, (value - offset + step // 2) // step) * step + offset


class DiffusersVideo(VideoAdapter):
    """An LTX-Video, LTX-2 or Wan checkpoint in diffusers' layout, safetensors only.

    LTX generates sides in multiples of 32 pixels and 8k + 1 frames, Wan 16 pixels and 4k + 1 frames. Requested values
    are rounded to the nearest of these, halves up, and `GeneratedVideo` reports the result. Keyframes, if the model
    accepts them (`adapters/video/inputs.py`), are scaled to cover the frame and cropped at its centre.
    """

    class Options(PipelineOptions):
        """Options that the operator may set."""

        max_frames: int = Field(257, ge=1)
        """Maximum number of frames of one request."""
        max_keyframes: int = Field(16, ge=0)
        """Maximum number of keyframes of one request; each costs as much as eight frames."""
        tile_frames: int = Field(64, ge=16)
        """Longer videos are decoded in tiles of this many frames; each is encoded while the next one is decoded."""
        decode_timestep: float = Field(0.05, ge=0, le=1)
        """The noise level that the autoencoder assumes; LTX-Video 0.9.1 and later denoise while they decode."""
        image_cond_noise_scale: float = Field(0.025, ge=0, le=1)
        """Noise added to keyframes of strength 1 during denoising; without it, videos tend to be static."""

    def __init__(self, loaded: Loaded["VideoEvent | _Generated"], options: Options) -> None:
        """Use `load`."""
        self._loaded = loaded
        self._options = options
        self._can = capabilities(loaded.pipeline)

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """See `Adapter.load`."""
        options = cls.Options.of(model)

        def work() -> Any:
            return load_pipeline(pipeline_class(model), model, options, "bfloat16")

        report(LoadProgress("loading weights"))
        return cls(await Loaded["VideoEvent | _Generated"].start(model.name, work), options)

    async def unload(self) -> None:
        """See `Adapter.unload`."""
        await self._loaded.end()

    async def generate(self, request: VideoRequest) -> AsyncGenerator[VideoEvent]:
        """See `VideoAdapter.generate`."""
        self._check(request)
        generated: _Generated | None = None
        encoders: list[VideoEncoder] = []
        try:
            async with aclosing(self._loaded.stream(lambda emit: self._work(request, encoders, emit))) as events:
                async for event in events:
                    if isinstance(event, _Generated):
                        generated = event
                    else:
                        yield event
            assert generated is not None, "the last event"
            # The model's thread goes on with the next request.
            yield await asyncio.to_thread(generated.encode)
        finally:
            for encoder in encoders:
                await asyncio.to_thread(encoder.abort)

    def _check(self, request: VideoRequest) -> None:
        options = self._options
        check_inputs(request, self._can)
        check_range("num_frames", request.num_frames, 1, options.max_frames)
        check_range("fps", request.fps, 1, 120)
        check_range("num_inference_steps", request.num_inference_steps, 1, options.max_steps)
        check_guidance(request.guidance_scale, request.negative_prompt)
        if min(request.width, request.height) < 1 or request.width * request.height > options.max_pixels:
            raise UnsupportedOption(
                f"Width and height must be positive, and their product at most {options.max_pixels:,} pixels.",
                param="size",
            )
        check_range("keyframes", len(request.keyframes), 0, options.max_keyframes)
        if request.source is not None:
            check_range("strength", request.strength, 0, 1)
            if int(request.num_inference_steps * request.strength) < 1:
                raise UnsupportedOption(
                    "num_inference_steps * strength is less than one step; raise one of them.", param="strength"
                )
        for keyframe in request.keyframes:
            check_range("keyframes.strength", keyframe.strength, 0, 1)
            check_range("keyframes.frame_index", keyframe.frame_index, -request.num_frames, request.num_frames - 1)

    def _work(self, request: VideoRequest, encoders: list[VideoEncoder], emit: "Emit[VideoEvent | _Generated]") -> None:
        """Generates the video, in the model's thread; the encoder that it starts and adds to `encoders` goes on."""
        started = time.monotonic()
        width, height = nearest(request.width, self._can.side_step), nearest(request.height, self._can.side_step)
        num_frames = nearest(request.num_frames, self._can.frame_step, 1)
        seed = first_seed(request.seed)
        keyframes = decode_keyframes(request, width, height, num_frames)
        pipeline = pipeline_for(self._loaded.pipeline, keyframes)

        def on_step(_: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            _ = self._loaded.pipeline  # raises once the model is unloaded
            emit(Step(step + 1, pipeline.num_timesteps))
            return tensors

        encoder = VideoEncoder(request.fps, num_frames)
        encoders.append(encoder)

        def encode(tile: Any) -> None:
            emit(Step(pipeline.num_timesteps, pipeline.num_timesteps))  # raises once the request is cancelled
            frames = pipeline.video_processor.postprocess_video(tile, output_type="pt")
            encoder.add(images_to_bytes(frames[0]))

        with ExitStack() as stack:
            stack.enter_context(translated())
            stack.enter_context(self._tiles(pipeline, encode))
            wanted = {
                **self._source(pipeline, request, width, height, num_frames),
                **keyframe_arguments(pipeline, keyframes),
                "prompt": request.prompt,
                "negative_prompt": request.negative_prompt,
                "width": width,
                "height": height,
                "num_frames": num_frames,
                "frame_rate": request.fps,  # some models were trained on it; the file has it in any case
                "num_inference_steps": request.num_inference_steps,
                "guidance_scale": request.guidance_scale,
                "generator": generator(seed),
                "decode_timestep": self._options.decode_timestep,
                "image_cond_noise_scale": self._options.image_cond_noise_scale,
                "max_sequence_length": self._prompt_length(pipeline, request),
                "output_type": "pt",
                "callback_on_step_end": on_step,
                **(guidance(pipeline, request.guidance_scale) if generates_audio(pipeline) else {}),
            }
            parameters = inspect.signature(type(pipeline).__call__).parameters
            output: Any = pipeline(**{name: value for name, value in wanted.items() if name in parameters})
            if not encoder.started:
                encoder.add(images_to_bytes(output.frames[0]))
            soundtrack = encode_soundtrack(pipeline, output.audio) if generates_audio(pipeline) else None
            emit(_Generated(encoder, request, seed, (width, height, num_frames), soundtrack, started))

    def _tiles(self, pipeline: Any, encode: Callable[[Any], None]) -> AbstractContextManager[None]:
        if not supports_tiles(pipeline.vae):
            return nullcontext()
        return decode_in_tiles(pipeline.vae, self._options.tile_frames, encode)

    def _source(self, pipeline: Any, request: VideoRequest, width: int, height: int, num_frames: int) -> dict[str, Any]:
        """The pipeline's arguments for a source video: its latents, and the share of them that becomes noise."""
        import torch

        if request.source is None or request.strength >= 1:
            return {}
        frames = first_frames(request.source.path, num_frames, (width, height))
        pixels = pipeline.video_processor.preprocess_video(frames, height, width)
        vae = pipeline.vae
        with torch.no_grad():
            latents = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode()
        latents = pipeline._normalize_latents(latents, vae.latents_mean, vae.latents_std, vae.config.scaling_factor)
        return {"latents": latents, "denoise_strength": request.strength}

    def _prompt_length(self, pipeline: Any, request: VideoRequest) -> int:
        """The tokens that the pipeline reads of a prompt: all of them, since it would silently truncate the rest."""
        length, maximum = self._can.tokens
        for param, text in (("prompt", request.prompt), ("negative_prompt", request.negative_prompt)):
            length = max(length, count := len(pipeline.tokenizer(text).input_ids))
            if count > maximum:
                raise UnsupportedOption(f"{param} has {count} tokens; at most {maximum} are allowed.", param=param)
        return length


@dataclass(frozen=True, slots=True)
class _Generated:
    """A video of which all frames were generated, and some are encoded."""

    encoder: VideoEncoder
    request: VideoRequest
    seed: int
    shape: tuple[int, int, int]
    """Width, height and number of frames."""
    soundtrack: Media | None
    started: float

    def encode(self) -> GeneratedVideo:
        """Encodes the rest. Blocks."""
        with translated():
            data, first = self.encoder.close()
            thumbnail = encode_image(Image.fromarray(first), "image/png")
        spent_ms = (time.monotonic() - self.started) * 1000
        video, fps = Media("video/mp4", data), self.request.fps
        return GeneratedVideo(video, thumbnail, self.seed, *self.shape, fps, spent_ms, self.soundtrack)
