"""Videos on diffusers: by LTX-Video or LTX-2 with keyframes, or by Wan."""

import inspect
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, ExitStack, aclosing, nullcontext
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
    load_pipeline,
    to_bytes,
    validated,
)
from adapters.engines.errors import translated
from adapters.engines.threads import Emit
from adapters.errors import UnsupportedOption
from adapters.media.decode_image import encode_image
from adapters.media.encode_video import FilmEncoder
from adapters.media.join_video import reel
from adapters.video.capabilities import capabilities, check_class, pipeline_class
from adapters.video.keyframes import arguments, pipeline_for, placed
from adapters.video.ltx2 import guidance, makes_sound, sound_of
from adapters.video.tiled_decode import can_tile, tiles_to


def nearest(value: int, step: int, offset: int = 0) -> int:
    """The nearest number of the form k * step + offset; halves go up, and k is at least 0, or 1 where offset is 0.

    Examples:
        >>> nearest(720, 32), nearest(121, 8, 1), nearest(120, 8, 1), nearest(5, 8, 1), nearest(1, 32)
        (736, 121, 121, 9, 32)
    """
    return max(0 if offset else 1, (value - offset + step // 2) // step) * step + offset


class DiffusersVideo(VideoAdapter):
    """An LTX-Video, LTX-2 or Wan checkpoint in diffusers' layout, safetensors only.

    LTX films sides of multiples of 32 pixels and lengths of 8k + 1 frames, Wan 16 and 4k + 1. What is asked for is
    rounded to the nearest, halves up, and `GeneratedVideo` says what was made. Keyframes, where a model takes them
    (`adapters/video/inputs.py`), are scaled to cover the frame, and cropped at its centre.
    """

    class Options(PipelineOptions):
        """What the operator may set."""

        max_frames: int = Field(257, ge=1)
        """The longest video of one request."""
        max_keyframes: int = Field(16, ge=0)
        """The most keyframes of one request; each costs as much as eight frames."""
        tile_frames: int = Field(64, ge=16)
        """Longer films are decoded in tiles of so many frames; each is encoded while the next one is decoded."""
        decode_timestep: float = Field(0.05, ge=0, le=1)
        """How noisy the autoencoder takes the latents to be; LTX-Video 0.9.1 and later denoise while they decode."""
        image_cond_noise_scale: float = Field(0.025, ge=0, le=1)
        """Noise on keyframes of full strength while they guide: with none, videos tend to stand still."""

    def __init__(self, loaded: Loaded[VideoEvent], options: Options) -> None:
        """For `load`, which makes the parts."""
        self._loaded = loaded
        self._options = options
        self._can = capabilities(loaded.pipeline)

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """See `Adapter.load`."""
        options = validated(cls.Options, model)

        def work() -> Any:
            return load_pipeline(pipeline_class(model), model, options, "bfloat16")

        report(LoadProgress("loading weights"))
        return cls(await Loaded[VideoEvent].start(model.name, work), options)

    async def unload(self) -> None:
        """See `Adapter.unload`."""
        await self._loaded.end()

    async def generate(self, request: VideoRequest) -> AsyncGenerator[VideoEvent]:
        """See `VideoAdapter.generate`."""
        self._check(request)
        async with aclosing(self._loaded.stream(lambda emit: self._work(request, emit))) as events:
            async for event in events:
                yield event

    def _check(self, request: VideoRequest) -> None:
        options = self._options
        check_class(request, self._can)
        check_range("num_frames", request.num_frames, 1, options.max_frames)
        check_range("fps", request.fps, 1, 120)
        check_range("num_inference_steps", request.num_inference_steps, 1, options.max_steps)
        check_guidance(request.guidance_scale, request.negative_prompt)
        if min(request.width, request.height) < 1 or request.width * request.height > options.max_pixels:
            raise UnsupportedOption(
                f"Width and height must be positive, and not exceed {options.max_pixels:,} pixels.", param="size"
            )
        check_range("keyframes", len(request.keyframes), 0, options.max_keyframes)
        if request.source is not None:
            check_range("strength", request.strength, 0, 1)
            if int(request.num_inference_steps * request.strength) < 1:
                raise UnsupportedOption("strength leaves no step of num_inference_steps to film.", param="strength")
        for keyframe in request.keyframes:
            check_range("keyframes.strength", keyframe.strength, 0, 1)
            check_range("keyframes.frame_index", keyframe.frame_index, -request.num_frames, request.num_frames - 1)

    def _work(self, request: VideoRequest, emit: Emit[VideoEvent]) -> None:
        """Films the video, in the model's thread."""
        started = time.monotonic()
        width, height = nearest(request.width, self._can.side_step), nearest(request.height, self._can.side_step)
        num_frames = nearest(request.num_frames, self._can.frame_step, 1)
        seed = first_seed(request.seed)
        pictures = placed(request, width, height, num_frames)
        pipeline = pipeline_for(self._loaded.pipeline, pictures)

        def on_step(_: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            _ = self._loaded.pipeline  # raises when it was unloaded
            emit(Step(step + 1, pipeline.num_timesteps))
            return tensors

        encoder = FilmEncoder(request.fps, num_frames)

        def encode(tile: Any) -> None:
            emit(Step(pipeline.num_timesteps, pipeline.num_timesteps))  # raises when nobody waits any more
            shown = pipeline.video_processor.postprocess_video(tile, output_type="np")
            encoder.add(to_bytes(shown[0]))

        with ExitStack() as stack:
            stack.callback(encoder.drop)
            stack.enter_context(translated())
            stack.enter_context(self._tiles(pipeline, encode))
            asked = {
                **self._source(pipeline, request, width, height, num_frames),
                **arguments(pipeline, pictures),
                "prompt": request.prompt,
                "negative_prompt": request.negative_prompt,
                "width": width,
                "height": height,
                "num_frames": num_frames,
                "frame_rate": request.fps,  # of models that were trained to heed it; the film is played so anyway
                "num_inference_steps": request.num_inference_steps,
                "guidance_scale": request.guidance_scale,
                "generator": generator(seed),
                "decode_timestep": self._options.decode_timestep,
                "image_cond_noise_scale": self._options.image_cond_noise_scale,
                "max_sequence_length": self._prompt_length(pipeline, request),
                "output_type": "np",
                "callback_on_step_end": on_step,
                **(guidance(pipeline, request.guidance_scale) if makes_sound(pipeline) else {}),
            }
            takes = inspect.signature(type(pipeline).__call__).parameters
            taken = {name: value for name, value in asked.items() if name in takes}
            filmed: Any = pipeline(**taken)
            if not encoder.begun:
                encoder.add(to_bytes(filmed.frames[0]))
            data, first = encoder.close()
            thumbnail = encode_image(Image.fromarray(first), "image/png")
            sound = sound_of(pipeline, filmed.audio) if makes_sound(pipeline) else None
        spent = (time.monotonic() - started) * 1000
        video = Media("video/mp4", data)
        emit(GeneratedVideo(video, thumbnail, seed, width, height, num_frames, request.fps, spent, sound))

    def _tiles(self, pipeline: Any, encode: Callable[[Any], None]) -> AbstractContextManager[None]:
        return tiles_to(pipeline.vae, self._options.tile_frames, encode) if can_tile(pipeline.vae) else nullcontext()

    def _source(self, pipeline: Any, request: VideoRequest, width: int, height: int, num_frames: int) -> dict[str, Any]:
        """The film that is filmed anew as the pipeline takes it: latents, and how much of them becomes noise."""
        import torch

        if request.source is None or request.strength >= 1:
            return {}
        frames = reel(request.source.path, num_frames, (width, height))
        pixels = pipeline.video_processor.preprocess_video(frames, height, width)
        vae = pipeline.vae
        with torch.no_grad():
            latents = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode()
        latents = pipeline._normalize_latents(latents, vae.latents_mean, vae.latents_std, vae.config.scaling_factor)
        return {"latents": latents, "denoise_strength": request.strength}

    def _prompt_length(self, pipeline: Any, request: VideoRequest) -> int:
        """How many tokens to read: all, for the pipeline would cut off what is beyond."""
        length, most = self._can.tokens
        for param, text in (("prompt", request.prompt), ("negative_prompt", request.negative_prompt)):
            length = max(length, count := len(pipeline.tokenizer(text).input_ids))
            if count > most:
                raise UnsupportedOption(f"{param} has {count} tokens; at most {most} are read.", param=param)
        return length
