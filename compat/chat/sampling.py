"""The sampling parameters that chat and text completions share, with OpenAI's ranges and defaults."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from compat.errors import RequestError
from compat.wire import WireRequest

MAX_STOP_LENGTH = 1000
"""Characters of one stop sequence."""
MAX_BIASES = 1024
MAX_N = 16
"""Answers of one request: a ceiling, so that no request multiplies itself into a thousand."""


def _few(value: Any) -> Any:
    """Pydantic would look at all of a million biases before it counts them."""
    if isinstance(value, dict) and len(value) > MAX_BIASES:  # pyright: ignore[reportUnknownArgumentType] - JSON
        raise ValueError(f"at most {MAX_BIASES} tokens")
    return value  # pyright: ignore[reportUnknownVariableType] - JSON


Bias = Annotated[float, Field(ge=-100, le=100)]


class StreamOptions(WireRequest):
    """What else a stream carries."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    """Padding against traffic analysis. Accepted as OpenAI's clients send it; on a loopback there is none to add."""


class SamplingFields(WireRequest):
    """Fields of both `ChatCompletionRequest` and `CompletionRequest`.

    What this server cannot honour admits only the value that changes nothing.
    """

    model: Annotated[str, Field(max_length=256)]
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: Annotated[dict[str, Bias], BeforeValidator(_few)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_N)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    user: str | None = None
    """The caller's own label; nothing depends on it."""

    def stop_sequences(self) -> tuple[str, ...]:
        """The stop sequences as a tuple.

        Raises:
            RequestError: One is empty or too long.
        """
        stops = () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        if any(not 0 < len(stop) <= MAX_STOP_LENGTH for stop in stops):
            raise RequestError(f"Each stop sequence needs 1 to {MAX_STOP_LENGTH} characters.", param="stop")
        return stops

    def sampling(self) -> dict[str, Any]:
        """These fields as arguments of `TextRequest`, OpenAI's defaults filled in.

        Raises:
            RequestError: A value is out of its range, or contradicts another.
        """
        if self.stream_options is not None and not self.stream:
            raise RequestError("stream_options needs stream: true.", param="stream_options")
        return {
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "stop": self.stop_sequences(),
            "seed": self.seed,
            "n": self.n or 1,
            "presence_penalty": self.presence_penalty or 0.0,
            "frequency_penalty": self.frequency_penalty or 0.0,
            "logit_bias": _token_ids(self.logit_bias or {}),
        }


def _token_ids(bias: dict[str, float]) -> dict[int, float]:
    if not all(key.isascii() and key.isdecimal() and len(key) < 10 for key in bias):
        raise RequestError("logit_bias maps token ids (whole numbers) to biases.", param="logit_bias")
    return {int(key): value for key, value in bias.items()}


Nothing = Literal[False] | None
"""A switch that cannot be turned on."""
MAX_TOP_LOGPROBS = 20
"""Likeliest tokens of one place, as OpenAI limits them."""
