"""vLLM's exceptions as ours."""

import logging
import re
from collections.abc import Callable

from adapters.base import TextRequest
from adapters.errors import AdapterError, GenerationFailed, Interrupted, ModelBusy, UnsupportedOption

log = logging.getLogger(__name__)
DEAD = "The model's engine has ended. The same request may succeed once it is loaded again."


class Translated:
    """What vLLM raises within, as an `AdapterError`. A generator in its place would cost every request more."""

    __slots__ = ("_alive", "_param")

    def __init__(self, alive: Callable[[], bool], param: str | None = None) -> None:
        """For one block.

        Args:
            alive: Whether the engine still runs.
            param: What to blame where vLLM refuses the request without naming a parameter.
        """
        self._alive = alive
        self._param = param

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Translates."""
        if isinstance(error, Exception) and not isinstance(error, AdapterError):
            raise _translate(error, self._param, alive=self._alive()) from error


def suspect(request: TextRequest) -> str | None:
    """The field that is to blame where the engine refuses a grammar."""
    if request.output != "text":
        return "response_format"
    return "tools" if request.tools else None


def _translate(error: Exception, param: str | None, *, alive: bool) -> AdapterError:
    from vllm.exceptions import MaxQueuedTokensError, QueueOverflowError, VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError

    if isinstance(error, EngineDeadError) or not alive:
        return Interrupted(DEAD)
    if isinstance(error, QueueOverflowError | MaxQueuedTokensError):
        return ModelBusy("This model's queue is full. The same request may succeed a little later.")
    if isinstance(error, VLLMClientError) or (param and isinstance(error, ValueError)):
        named = getattr(error, "parameter", None) or param
        return UnsupportedOption(_reason(error), param=named)
    log.error("vLLM failed on a request", exc_info=error)
    return GenerationFailed("The model's engine failed on this request.")


def _reason(error: Exception) -> str:
    """What vLLM says, without the grammar that was made of the request's schemas."""
    said = str(error.args[0] if error.args else error)
    if (found := re.match(r"Grammar error: (?:at \d+\(\d+\): )?(.*)", said)) is not None:
        return f"The engine cannot enforce this: {found[1]}"[:500]
    return said[:500]
