"""The sampling parameters that chat and text completions share, with OpenAI's ranges and defaults."""

from typing import Annotated, Any

from pydantic import Field

from compat.errors import invalid
from compat.wire import WireRequest, max_entries

MAX_STOP_LENGTH = 1000
"""Characters of one stop sequence."""
MAX_STOPS = 64
"""Stop sequences of one request. OpenAI allows 4."""
MAX_BIASES = 1024
MAX_TEMPLATE_VALUES = 16
MAX_N = 16
"""Choices of one request, so that no request becomes a thousand."""


Bias = Annotated[float, Field(ge=-100, le=100)]
TemplateValue = bool | int | float | Annotated[str, Field(max_length=1000)]


class StreamOptions(WireRequest):
    """What a stream contains besides the text."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    """Whether every chunk has the usage so far, as in vLLM's API."""
    include_obfuscation: bool | None = None
    """Padding against traffic analysis. Accepted, since OpenAI's clients send it; no padding is added."""


class EngineFields(WireRequest):
    """Sampling parameters of vLLM's API that OpenAI's does not have."""

    top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None
    """Only the most likely tokens; 0 and -1: all."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    ignore_eos: bool | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    stop_token_ids: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=MAX_STOPS)] | None = None
    chat_template_kwargs: Annotated[dict[str, TemplateValue], max_entries(MAX_TEMPLATE_VALUES)] | None = None
    """Variables of the chat template, of those that the model's option `template_variables` lists."""

    def engine_sampling(self) -> dict[str, Any]:
        """These fields as arguments of `TextRequest`."""
        return {
            "top_k": max(0, self.top_k or 0),
            "min_p": self.min_p or 0.0,
            "repetition_penalty": self.repetition_penalty or 1.0,
            "ignore_eos": bool(self.ignore_eos),
            "min_tokens": self.min_tokens or 0,
            "stop_token_ids": tuple(self.stop_token_ids or ()),
            "template_arguments": self.chat_template_kwargs or {},
        }


class SamplingFields(EngineFields):
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
    stop: str | Annotated[list[str], Field(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    user: Any = None
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
            "continuous_usage": self.stream_options is not None and bool(self.stream_options.continuous_usage_stats),
            **self.engine_sampling(),
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


MAX_TOP_LOGPROBS = 20
"""Most likely tokens per position, as in OpenAI's API."""
