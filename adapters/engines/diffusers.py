"""What the diffusers backends share: options, device, loading from local files, and checks of requests."""

import inspect
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

from pydantic import Field

from adapters.base import Adapter, ModelFiles
from adapters.engines.errors import INVALID_NUMBERS, release_memory, translated
from adapters.engines.threads import Emit, ModelThread
from adapters.errors import GenerationFailed, Interrupted, ModelLoadFailed, UnsupportedOption
from adapters.files import is_fp16

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

E = TypeVar("E")


class PipelineOptions(Adapter.Options):
    """What the operator may set for a diffusers pipeline."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """"auto": the GPU where there is one."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """"auto": float32 on the CPU, on a GPU the half precision that the model was published in."""
    cpu_threads: int | None = Field(None, ge=1)
    """Threads of torch on the CPU. None: 1 for models below 50 million parameters, else torch's choice."""
    max_steps: int = Field(100, ge=1)
    """The most denoising steps of a request."""
    max_pixels: int = Field(2048 * 2048, ge=64 * 64)
    """The most pixels of an image, or of one frame."""


class Loaded(Generic[E]):
    """A pipeline in memory and the one thread in which it runs; `E` are the events of its kind."""

    def __init__(self, pipeline: Any, thread: ModelThread[E]) -> None:
        """Use `start`."""
        self._pipeline = pipeline
        self._thread = thread
        self._ended = Event()

    @classmethod
    async def start(cls, name: str, load: Callable[[], Any]) -> Self:
        """Loads the pipeline in a new thread.

        Args:
            name: Of the model.
            load: Returns the pipeline; what it raises is passed on.
        """
        thread = ModelThread[E](name)
        try:
            return cls(await thread.run(load), thread)
        except BaseException:
            thread.close()
            raise

    @property
    def pipeline(self) -> Any:
        """The pipeline.

        Raises:
            Interrupted: It was unloaded, or will be next. Ask before each step.
        """
        if self._ended.is_set():
            raise Interrupted("The model was unloaded.")
        return self._pipeline

    async def stream(self, work: Callable[[Emit[E]], None]) -> AsyncGenerator[E]:
        """Events as `work` emits them, in the pipeline's thread. See `ModelThread.stream`."""
        async with aclosing(self._thread.stream(work)) as events:
            async for event in events:
                yield event

    async def end(self) -> None:
        """Stops all work, running and queued, and releases the memory."""
        self._ended.set()

        def drop() -> None:
            self._pipeline = None
            release_memory()

        # Runs after all queued work, each of which finds that the pipeline has ended.
        await self._thread.run(drop)
        self._thread.close()


def load_pipeline(pipeline: Any, model: ModelFiles, options: PipelineOptions, half: str, **extra: object) -> Any:
    """Loads a diffusers pipeline from a local folder onto its device. Blocks; call it in the model's thread.

    Reads safetensors only, and runs no code from the folder.

    Args:
        pipeline: A class of diffusers, such as `StableDiffusionXLPipeline`.
        model: Its files.
        options: Device, precision and threads.
        half: The dtype that "auto" means on a GPU.
        extra: Further arguments of `from_pretrained`.

    Raises:
        ModelLoadFailed: Files are missing, damaged or of another class.
        OutOfMemory: It does not fit.
    """
    import torch
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        # Their warnings quote prompts, which must not reach a log.
        library.set_verbosity_error()
    if not (Path(model.path) / "model_index.json").is_file():
        raise ModelLoadFailed(f"The model {model.name} is not a diffusers pipeline: it has no model_index.json.")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ModelLoadFailed(
            f'The option device of the model {model.name} is "cuda", and there is no GPU. Set it to "auto" or "cpu".'
        )
    device = device_of(options)
    dtype = ("float32" if device == "cpu" else half) if options.dtype == "auto" else options.dtype
    arguments: dict[str, Any] = {"dtype": getattr(torch, dtype), "local_files_only": True, "use_safetensors": True}
    if half_variant(Path(model.path), dtype):
        arguments["variant"] = "fp16"
    shared = any(isinstance(one, torch.nn.Module) for one in extra.values())
    if not shared:  # weights are read to the device, without a copy of the whole model in RAM
        arguments["device_map"] = device
    with translated(f"The model {model.name}", loading=True):
        loaded = pipeline.from_pretrained(model.path, **arguments, **extra)
        if shared:
            loaded = loaded.to(device)
    _use_fixed_shift(loaded)
    loaded.set_progress_bar_config(disable=True)
    modules = [one for one in loaded.components.values() if isinstance(one, torch.nn.Module)]
    small = sum(weight.numel() for module in modules for weight in module.parameters()) < 50e6
    # Threads synchronise after every small kernel: on two busy cores the starter's image took 7 s with two threads and
    # 0.3 s with one.
    if threads := options.cpu_threads or (1 if small else None):
        torch.set_num_threads(threads)
    return loaded


def device_of(options: PipelineOptions) -> Literal["cpu", "cuda"]:
    """Where a pipeline runs."""
    import torch

    if options.device != "auto":
        return options.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def half_variant(path: Path, dtype: str) -> bool:
    """Whether a checkpoint's fp16 files are to be loaded: in float16, or where a component has no others.

    diffusers loads the other files of components that have no fp16 files.
    """
    folders = {file.parent for file in path.glob("*/*.safetensors")}
    names = [[file.name for file in folder.glob("*.safetensors")] for folder in folders]
    fp16 = [[is_fp16(name) for name in some] for some in names]
    return any(map(any, fp16)) and (dtype == "float16" or any(map(all, fp16)))


def _use_fixed_shift(pipeline: Any) -> None:
    """Replaces a scheduler that shifts noise levels by the video's size, where the pipeline does not pass the size.

    LTX-Video 0.9.0's scheduler does so, and its pipeline for keyframes passes noise levels that need no shift.
    """
    config = getattr(pipeline.scheduler, "config", {})
    call = inspect.unwrap(type(pipeline).__call__)
    # INTERNAL diffusers==0.42.1: pipelines that pass the shift compute it in a variable of this name.
    if config.get("use_dynamic_shifting") and "mu" not in call.__code__.co_varnames:
        settings = {"use_dynamic_shifting": False, "shift_terminal": None}
        pipeline.scheduler = type(pipeline.scheduler).from_config(config, **settings)


def check_range(param: str, value: float, low: float, high: float) -> None:
    """Raises `UnsupportedOption` naming `param` unless low <= value <= high; NaN is never in range."""
    if not low <= value <= high:
        raise UnsupportedOption(f"{param} must be between {low:g} and {high:g}.", param=param)


def check_guidance(guidance_scale: float, negative_prompt: str) -> None:
    """Raises `UnsupportedOption` for a scale out of range, or for a negative prompt that would have no effect."""
    check_range("guidance_scale", guidance_scale, 0, 50)
    if negative_prompt and guidance_scale <= 1:
        raise UnsupportedOption(
            "negative_prompt has no effect unless guidance_scale is above 1. Raise guidance_scale, or send no "
            "negative_prompt.",
            param="negative_prompt",
        )


def first_seed(seed: int | None) -> int:
    """The first seed: the request's, or a random one.

    Raises:
        UnsupportedOption: It is not within 0..2**32-1.
    """
    if seed is None:
        return secrets.randbelow(2**32)
    check_range("seed", seed, 0, 2**32 - 1)
    return seed


def generator(seed: int) -> "torch.Generator":
    """A source of noise. Always on the CPU, so that a seed gives the same noise on every device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)


def images_to_bytes(pixels: "torch.Tensor") -> "NDArray[np.uint8]":
    """Pixels 0..1 as 0..255, computed on their device: a quarter of the bytes is copied, and no core of the CPU works.

    Args:
        pixels: [images or frames, 3, height, width].

    Returns:
        uint8 [images or frames, height, width, 3].

    Raises:
        GenerationFailed: Some are NaN or infinite (half precision overflowed).
    """
    import torch

    pixels = pixels.float()
    if not bool(torch.isfinite(pixels).all()):
        raise GenerationFailed(INVALID_NUMBERS)
    return (pixels * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
