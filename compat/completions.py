"""POST /v1/completions: OpenAI's older, plain continuation of a text."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.base import FinishReason, TextDone, TextEvent, TextRequest
from compat import sse
from compat.errors import RequestError
from compat.sampling import Nothing, SamplingFields
from compat.usage import CompletionUsage, render_timings, render_usage
from compat.wire import Timings, WireReply, new_id, validate

DEFAULT_MAX_TOKENS = 16
"""OpenAI's default of this route."""


class CompletionRequest(SamplingFields):
    """The body of POST /v1/completions, as far as this server honours it."""

    prompt: (
        str
        | Annotated[list[Annotated[int, Field(ge=0)]], Field(fail_fast=True)]
        | Annotated[list[str], Field(fail_fast=True)]
    )
    """Text, or token ids; a list of one text is taken as that text."""
    best_of: Literal[1] | None = None
    echo: Nothing = None
    logprobs: None = None
    suffix: None = None


@dataclass(frozen=True, slots=True)
class CompletionCall:
    """A parsed request."""

    model: str
    request: TextRequest
    stream: bool
    include_usage: bool


class CompletionChoice(WireReply):
    """One of the `n` continuations, or the next piece of it."""

    index: int
    text: str
    finish_reason: FinishReason | None = None
    logprobs: None = None


class Completion(WireReply, omit_defaults=True):
    """The reply, or one event of its stream."""

    id: str
    created: int
    model: str
    object: str
    choices: list[CompletionChoice]
    usage: CompletionUsage | None = None
    timings: Timings | None = None


def parse(body: Mapping[str, Any]) -> CompletionCall:
    """The request behind a JSON body.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(CompletionRequest, body)
    request = TextRequest(
        prompt=_prompt(wire.prompt), max_tokens=wire.max_tokens or DEFAULT_MAX_TOKENS, **wire.sampling()
    )
    include_usage = wire.stream_options is not None and bool(wire.stream_options.include_usage)
    return CompletionCall(wire.model, request, bool(wire.stream), include_usage)


def _prompt(prompt: str | Sequence[int] | Sequence[str]) -> str | tuple[int, ...]:
    if isinstance(prompt, str):
        return prompt
    tokens = tuple(item for item in prompt if isinstance(item, int))
    if tokens:
        return tokens
    texts = [item for item in prompt if isinstance(item, str)]
    if len(texts) != 1:
        raise RequestError("Send one prompt: a text, or its token ids.", param="prompt")
    return texts[0]


def render(call: CompletionCall, model: str, events: Sequence[TextEvent]) -> Completion:
    """The whole reply, folded from the events of `TextAdapter.generate`."""
    texts: dict[int, list[str]] = {index: [] for index in range(call.request.n)}
    reasons: dict[int, FinishReason] = {}
    usage, timings = None, None
    for event in events:
        if isinstance(event, TextDone):
            usage, timings = render_usage(event), render_timings(event)
            continue
        texts[event.index].append(event.text)
        if event.finish_reason is not None:
            reasons[event.index] = event.finish_reason
    return Completion(
        **_identity(model),
        choices=[
            CompletionChoice(index=index, text="".join(pieces), finish_reason=reasons.get(index, "stop"))
            for index, pieces in texts.items()
        ],
        usage=usage,
        timings=timings,
    )


async def stream(call: CompletionCall, model: str, events: AsyncGenerator[TextEvent]) -> AsyncGenerator[bytes]:
    """The reply as server-sent events, `[DONE]` last. Closing this closes `events`."""
    identity = _identity(model)
    async with aclosing(events):
        async for event in events:
            if not isinstance(event, TextDone):
                choice = CompletionChoice(index=event.index, text=event.text, finish_reason=event.finish_reason)
                yield sse.frame(Completion(**identity, choices=[choice]))
            elif call.include_usage:
                yield sse.frame(
                    Completion(**identity, choices=[], usage=render_usage(event), timings=render_timings(event))
                )
    yield sse.DONE


def _identity(model: str) -> dict[str, Any]:
    return {"id": new_id("cmpl-"), "created": int(time.time()), "model": model, "object": "text_completion"}
