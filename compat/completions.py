"""POST /v1/completions: OpenAI's legacy text completions."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from adapters.base import FinishReason, Outlet, TextDone, TextEvent, TextRequest, TokenLogprob, Usage
from compat import sse
from compat.chat.sampling import MAX_TOP_LOGPROBS, SamplingFields
from compat.errors import invalid
from compat.logprobs import CompletionLogprobs, render_completion_logprobs
from compat.usage import CompletionUsage, render_timings, render_tokens, render_usage
from compat.wire import Timings, WireReply, new_id, validate

DEFAULT_MAX_TOKENS = 16
"""OpenAI's default of this route."""
MAX_PROMPTS = 64
"""Per request."""
MAX_CHOICES = 128
"""Completions of all prompts of one request together."""


class CompletionRequest(SamplingFields):
    """The body of POST /v1/completions."""

    prompt: (
        str
        | Annotated[list[Annotated[int, Field(ge=0)]], Field(fail_fast=True)]
        | Annotated[list[str], Field(fail_fast=True, max_length=MAX_PROMPTS)]
        | Annotated[list[list[Annotated[int, Field(ge=0)]]], Field(fail_fast=True, max_length=MAX_PROMPTS)]
    )
    """Text, token ids, or a list of either. Each item of a list gets its own completions."""
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    best_of: Annotated[int, Field(ge=1)] | None = None
    """Only as many as `n`: the best of more would have to be chosen by their likelihood."""
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    suffix: str | None = None
    """What follows the new text, for models that fill in the middle."""


@dataclass(frozen=True, slots=True)
class CompletionCall:
    """A parsed request."""

    model: str
    requests: tuple[TextRequest, ...]
    """One per prompt, otherwise equal."""
    stream: bool
    include_usage: bool

    @property
    def n(self) -> int:
        """Completions of each prompt."""
        return self.requests[0].n


class CompletionChoice(WireReply):
    """One of the completions, or the next chunk of it."""

    index: int
    text: str
    finish_reason: FinishReason | None = None
    logprobs: CompletionLogprobs | None = None


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
    prompts = _prompts(wire.prompt)
    if wire.max_tokens == 0 and not wire.echo:
        raise invalid("max_tokens", "must be at least 1 unless 'echo' is true")
    if wire.suffix and wire.echo:
        raise invalid("suffix", "cannot be combined with 'echo'; leave one of them out")
    if wire.best_of is not None and wire.best_of != (wire.n or 1):
        raise invalid("best_of", "must equal 'n': all answers are returned")
    request = TextRequest(
        max_tokens=DEFAULT_MAX_TOKENS if wire.max_tokens is None else wire.max_tokens,
        echo=bool(wire.echo),
        logprobs=wire.logprobs,
        suffix=wire.suffix or "",
        **wire.sampling(),
    )
    if len(prompts) * request.n > MAX_CHOICES:
        raise invalid("n", f"{len(prompts)} prompts with n={request.n} exceed {MAX_CHOICES} completions per request")
    requests = tuple(replace(request, prompt=prompt) for prompt in prompts)
    return CompletionCall(wire.model, requests, bool(wire.stream), wire.include_usage)


def _prompts(prompt: str | Sequence[int | str | Sequence[int]]) -> list[str | tuple[int, ...]]:
    if isinstance(prompt, str):
        return [prompt]
    tokens = tuple(item for item in prompt if isinstance(item, int))
    if tokens:
        return [tokens]
    if not prompt:
        raise invalid("prompt", "must not be empty")
    return [item if isinstance(item, str) else tuple(item) for item in prompt if not isinstance(item, int)]


def render(call: CompletionCall, model: str, events: Sequence[TextEvent]) -> Completion:
    """The whole reply, from the events of all prompts. Indices are consecutive across prompts."""
    texts: dict[int, list[str]] = {index: [] for index in range(call.n * len(call.requests))}
    logprobs_of: dict[int, list[TokenLogprob]] = {index: [] for index in texts}
    reasons: dict[int, FinishReason] = {}
    done = TextDone(Usage(), 0.0)
    for event in events:
        if isinstance(event, TextDone):
            done = event
            continue
        texts[event.index].append(event.text)
        logprobs_of[event.index].extend(event.logprobs)
        if event.finish_reason is not None:
            reasons[event.index] = event.finish_reason
    with_logprobs = call.requests[0].logprobs is not None
    return Completion(
        **_identity(model),
        choices=[
            CompletionChoice(
                index=index,
                text="".join(pieces),
                finish_reason=reasons.get(index, "stop"),
                logprobs=render_completion_logprobs(logprobs_of[index], 0) if with_logprobs else None,
            )
            for index, pieces in texts.items()
        ],
        usage=render_usage(done),
        timings=render_timings(done),
    )


async def stream(
    call: CompletionCall, model: str, events: AsyncGenerator[TextEvent], outlet: Outlet | None = None
) -> AsyncGenerator[bytes]:
    """The reply as server-sent events, `[DONE]` last. Closing this closes `events`. Arguments: see chat's `stream`."""
    identity = _identity(model)
    if outlet is not None:
        outlet.encode = sse.Template(Completion(**identity, choices=[CompletionChoice(0, sse.PLACEHOLDER)])).fill
    offsets: dict[int, int] = {}
    async with aclosing(events):
        async for event in events:
            if not isinstance(event, TextDone):
                offset = offsets.get(event.index, 0)
                offsets[event.index] = offset + len(event.text)
                logprobs = render_completion_logprobs(event.logprobs, offset) if event.logprobs else None
                choice = CompletionChoice(event.index, event.text, event.finish_reason, logprobs)
                usage = None if event.usage is None else render_tokens(event.usage)
                yield sse.frame(Completion(**identity, choices=[choice], usage=usage))
            elif call.include_usage:
                yield sse.frame(
                    Completion(**identity, choices=[], usage=render_usage(event), timings=render_timings(event))
                )
    yield sse.DONE


def _identity(model: str) -> dict[str, Any]:
    return {"id": new_id("cmpl-"), "created": int(time.time()), "model": model, "object": "text_completion"}
