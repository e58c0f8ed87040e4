"""What the diffusers backends share: options, placement, loading from local files, and the translation of errors."""

import gc
import logging
import secrets
import traceback
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

from pydantic import Field

from adapters.base import Adapter, ModelFiles
from adapters.engines.threads import Emit, ModelThread
from adapters.errors import AdapterError, GenerationFailed, Interrupted, ModelLoadFailed, OutOfMemory, UnsupportedOption

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

E = TypeVar("E")
log = logging.getLogger(__name__)


class PipelineOptions(Adapter.Options):
    """What the operator may set for a diffusers pipeline."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """"auto": the GPU where there is one."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """"auto": float32 on the CPU, on a GPU the half precision that the model was published in."""
    cpu_threads: int | None = Field(None, ge=1)
    """Threads of torch on the CPU. None: 1 for models under 50 million parameters, else torch's choice."""
    max_steps: int = Field(100, ge=1)
    """The most denoising steps of one request."""
    max_pixels: int = Field(2048 * 2048, ge=64 * 64)
    """The most pixels of a picture, or of one frame."""


class Loaded(Generic[E]):
    """A pipeline in memory and the one thread in which it runs; `E` are the events of its kind."""

    def __init__(self, pipeline: Any, thread: ModelThread[E]) -> None:
        """For `start`, which makes both."""
        self._pipeline = pipeline
        self._thread = thread
        self._ended = Event()

    @classmethod
    async def start(cls, name: str, load: Callable[[], Any]) -> Self:
        """Loads the pipeline in a thread of its own.

        Args:
            name: The model's.
            load: Returns the pipeline. Raises what it likes.
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
            Interrupted: It was unloaded, or is about to be: ask before each step.
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
        """Stops all work, running and queued, and gives the memory back."""
        self._ended.set()

        def drop() -> None:
            self._pipeline = None
            give_back_memory()

        # Behind all queued work, each of which finds that the pipeline has ended.
        await self._thread.run(drop)
        self._thread.close()


def load_pipeline(pipeline: Any, model: ModelFiles, options: PipelineOptions, half: str, **extra: object) -> Any:
    """A diffusers pipeline from a local folder, on its device. Blocks; call it in the model's thread.

    Only safetensors are read, and no code from the folder is run.

    Args:
        pipeline: A class of diffusers, such as `StableDiffusionXLPipeline`.
        model: Where its files are.
        options: Where and how precisely it runs.
        half: Name of the dtype that "auto" means on a GPU.
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
        # Their warnings hold the text of prompts, which must not reach a log.
        library.set_verbosity_error()
    if not (Path(model.path) / "model_index.json").is_file():
        raise ModelLoadFailed(f"The model {model.name} is not a diffusers pipeline: it has no model_index.json.")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ModelLoadFailed(f"The model {model.name} wants a GPU, and there is none.")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    dtype = ("float32" if device == "cpu" else half) if options.dtype == "auto" else options.dtype
    try:
        with translated():
            loaded = pipeline.from_pretrained(
                model.path, dtype=getattr(torch, dtype), local_files_only=True, use_safetensors=True, **extra
            ).to(device)
    except GenerationFailed as error:
        raise ModelLoadFailed(
            f"The model {model.name} could not be loaded: files are missing, damaged or of another kind of model."
        ) from error
    loaded.set_progress_bar_config(disable=True)
    parts = [part for part in loaded.components.values() if isinstance(part, torch.nn.Module)]
    small = sum(weight.numel() for part in parts for weight in part.parameters()) < 50e6
    # Threads meet after every small kernel: on two busy cores the starter's picture took 7 s with two, 0.3 s with one.
    if threads := options.cpu_threads or (1 if small else None):
        torch.set_num_threads(threads)
    return loaded


@contextmanager
def translated() -> Iterator[None]:
    """Makes adapter errors of what torch and diffusers raise; adapter errors pass.

    Raises:
        OutOfMemory: Memory ran out, on the GPU or beside it. What the failed work held is free again.
        GenerationFailed: Anything else. The log has the cause, without the prompt.
    """
    try:
        yield
    except AdapterError:
        raise
    except Exception as error:
        out_of_memory = _is_out_of_memory(error)
        # The frames of the failed call hold its tensors for as long as somebody holds the exception.
        traceback.clear_frames(error.__traceback__)
        if out_of_memory:
            give_back_memory()
            raise OutOfMemory("There is not enough memory for this. Ask for a smaller size or fewer at once.") from None
        log.exception("a diffusers pipeline failed")
        raise GenerationFailed("The model failed.") from error


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    # The CPU allocator of torch raises a plain RuntimeError.
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def give_back_memory() -> None:
    """Returns cached GPU memory, so that other processes can have it."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def check_range(param: str, value: float, low: float, high: float) -> None:
    """Raises `UnsupportedOption` naming `param` unless low <= value <= high; NaN is never in range."""
    if not low <= value <= high:
        raise UnsupportedOption(f"{param} must be between {low:g} and {high:g}.", param=param)


def check_guidance(guidance_scale: float, negative_prompt: str) -> None:
    """Raises `UnsupportedOption` for a scale out of range, or for a negative prompt that would have no effect."""
    check_range("guidance_scale", guidance_scale, 0, 50)
    if negative_prompt and guidance_scale <= 1:
        raise UnsupportedOption(
            "negative_prompt has no effect unless guidance_scale is above 1.", param="negative_prompt"
        )


def first_seed(seed: int | None) -> int:
    """The seed to begin with: the request's, or one drawn at random.

    Raises:
        UnsupportedOption: It is not within 0..2**32-1.
    """
    if seed is None:
        return secrets.randbelow(2**32)
    check_range("seed", seed, 0, 2**32 - 1)
    return seed


def generator(seed: int) -> "torch.Generator":
    """A source of noise. On the CPU always, so that a seed means the same noise on every device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)


def to_bytes(pixels: "NDArray[np.float32]") -> "NDArray[np.uint8]":
    """Pixels 0..1 as 0..255.

    Raises:
        GenerationFailed: Some are not numbers (half precision overflowed).
    """
    import numpy as np

    if not np.isfinite(pixels).all():
        raise GenerationFailed("The model produced values that are not numbers; a wider dtype may help.")
    return (pixels * 255).round().clip(0, 255).astype(np.uint8)
