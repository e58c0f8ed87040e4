"""The sampling parameters that chat and text completions share, with OpenAI's ranges and defaults."""

from typing import Annotated, Any, Literal

from pydantic import Field

from compat.errors import invalid
from compat.wire import WireRequest, max_entries

MAX_STOP_LENGTH = 1000
"""Characters of one stop sequence."""
MAX_BIASES = 1024
MAX_N = 16
"""Choices of one request, so that no request becomes a thousand."""


Bias = Annotated[float, Field(ge=-100, le=100)]


class StreamOptions(WireRequest):
    """What a stream contains besides the text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    """Padding against traffic analysis. Accepted, since OpenAI's clients send it; no padding is added."""


class SamplingFields(WireRequest):
    """Fields of both `ChatCompletionRequest` and `CompletionRequest`.

    A field that this server cannot honour accepts only the value without effect.
    """

    model: Annotated[str, Field(max_length=256)]
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: Annotated[dict[str, Bias], max_entries(MAX_BIASES)] | None = None
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
    """The caller's label; has no effect."""

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with its usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def stop_sequences(self) -> tuple[str, ...]:
        """The stop sequences as a tuple.

        Raises:
            RequestError: One is empty or too long.
        """
        stops = () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        for index, stop in enumerate(stops):
            if not 0 < len(stop) <= MAX_STOP_LENGTH:
                param = "stop" if isinstance(self.stop, str) else f"stop[{index}]"
                raise invalid(param, f"must have 1 to {MAX_STOP_LENGTH:,} characters")
        return stops

    def sampling(self) -> dict[str, Any]:
        """These fields as arguments of `TextRequest`, with OpenAI's defaults.

        Raises:
            RequestError: A value is out of range, or requires another field.
        """
        if self.stream_options is not None and not self.stream:
            raise invalid("stream_options", "requires 'stream' to be true")
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
    for key in bias:
        if not (key.isascii() and key.isdecimal() and len(key) < 10):
            raise invalid("logit_bias", f"its key '{key[:64]}' must be a token id, such as '1734'")
    return {int(key): value for key, value in bias.items()}


Nothing = Literal[False] | None
"""A switch that cannot be turned on."""
MAX_TOP_LOGPROBS = 20
"""Most likely tokens per position, as in OpenAI's API."""
