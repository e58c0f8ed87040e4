"""Exceptions of engine libraries as adapter errors."""

import gc
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapters.errors import (
    AdapterError,
    GenerationFailed,
    Interrupted,
    ModelBusy,
    ModelLoadFailed,
    OutOfMemory,
    UnsupportedOption,
)
from adapters.process import device_fault
from adapters.process.start_failure import is_out_of_memory

log = logging.getLogger(__name__)

ENGINE_DEAD = "The model's engine has ended. Send the request again: it loads the model again."

INVALID_NUMBERS = 'The model computed invalid numbers (NaN or infinity). Set its option dtype to "float32".'


@contextmanager
def translated(
    subject: str = "The model", *, loading: bool = False, stopped: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Exceptions of torch, transformers, diffusers, CTranslate2 and onnxruntime as adapter errors, which pass.

    The log has the traceback of a failed request without the library's message, which may quote the request.

    Args:
        subject: How messages call the model: "The speech model".
        loading: Whether the model is being loaded.
        stopped: Whether the work was stopped on purpose.

    Raises:
        Interrupted: The work was stopped, or the GPU failed and this process must end.
        OutOfMemory: Memory ran out, on the GPU or in RAM. What the failed work held is free again.
        ModelLoadFailed: Anything else, while loading.
        GenerationFailed: Anything else.
    """
    try:
        yield
    except AdapterError:
        raise
    except Exception as error:
        if stopped():
            raise Interrupted("The request was cancelled.") from None
        if isinstance(error, MemoryError) or is_out_of_memory(str(error)):
            # The frames of the failed call hold its tensors for as long as the exception is referenced.
            traceback.clear_frames(error.__traceback__)
            release_memory()
            raise OutOfMemory(
                f"{subject} ran out of memory. Ask for less at once: a smaller size, fewer images or shorter input."
            ) from None
        if device_fault.note(error) and not loading:
            raise Interrupted(ENGINE_DEAD) from error
        if loading:
            log.exception("%s could not be loaded", subject)
            raise ModelLoadFailed(
                f"{subject} could not be loaded: its files are missing, damaged or of another kind of model, or its "
                "device cannot run it. The server's log has the cause."
            ) from error
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s failed on a request: %s\n%s", subject, type(error).__name__, where)
        raise GenerationFailed(f"{subject} failed on this request. The server's log has the cause.") from error


def release_memory() -> None:
    """Collects garbage and returns cached GPU memory, so that other processes can use it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


class VllmErrors:
    """Exceptions of vLLM as adapter errors, which pass. A class, because a generator would cost every request more."""

    __slots__ = ("_alive", "_param")

    def __init__(self, alive: Callable[[], bool], param: str | None = None) -> None:
        """For one `with` block.

        Args:
            alive: Whether the engine still runs.
            param: The request field to name where vLLM refuses the request without naming one.
        """
        self._alive = alive
        self._param = param

    def __enter__(self) -> None:
        """Does nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Raises the adapter error.

        Raises:
            Interrupted: The engine has ended.
            ModelBusy: Its queue is full.
            UnsupportedOption: It refuses the request.
            GenerationFailed: Anything else; the log has the cause.
        """
        if isinstance(error, Exception) and not isinstance(error, AdapterError):
            raise _from_vllm(error, self._param, alive=self._alive()) from error


def _from_vllm(error: Exception, param: str | None, *, alive: bool) -> AdapterError:
    from vllm.exceptions import MaxQueuedTokensError, QueueOverflowError, VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError

    if isinstance(error, EngineDeadError) or not alive:
        return Interrupted(ENGINE_DEAD)
    if isinstance(error, QueueOverflowError | MaxQueuedTokensError):
        return ModelBusy("This model's queue is full. Send the request again a little later.")
    if isinstance(error, VLLMClientError) or (param and isinstance(error, ValueError)):
        named = getattr(error, "parameter", None) or param
        return UnsupportedOption(_reason(error), param=named)
    log.error("vLLM failed on a request", exc_info=error)
    return GenerationFailed("The model's engine failed on this request. The server's log has the cause.")


def _reason(error: Exception) -> str:
    """VLLM's message, without the grammar that was made of the request's schemas."""
    message = str(error.args[0] if error.args else error)
    # INTERNAL vllm==0.32: the wording of its grammar errors.
    if (found := re.match(r"Grammar error: (?:at \d+\(\d+\): )?(.*)", message)) is not None:
        return f"The engine cannot enforce this: {found[1]}"[:500]
    return message[:500]
