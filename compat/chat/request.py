"""POST /v1/chat/completions: OpenAI's schemas, parse and render."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import UNSET, UnsetType
from pydantic import Field

from adapters.base import (
    FinishReason,
    Outlet,
    TextDelta,
    TextDone,
    TextEvent,
    TextRequest,
    TokenLogprob,
    ToolCall,
    Usage,
)
from compat import sse
from compat.chat.messages import ChatMessage, parse_messages
from compat.chat.sampling import MAX_TOP_LOGPROBS, Nothing, SamplingFields
from compat.chat.tools import (
    ResponseFormat,
    ToolChoice,
    ToolDefinition,
    merge_tool_call,
    parse_output,
    parse_tool_choice,
    parse_tools,
)
from compat.errors import invalid
from compat.logprobs import ChoiceLogprobs, render_logprobs
from compat.usage import CompletionUsage, render_timings, render_usage
from compat.wire import Timings, WireReply, new_id, validate

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class ChatCompletionRequest(SamplingFields):
    """The body of POST /v1/chat/completions, as far as this server supports it."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=4096, fail_fast=True)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[ToolDefinition], Field(max_length=128, fail_fast=True)] | None = None
    tool_choice: ToolChoice | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    reasoning_effort: ReasoningEffort | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = None
    parallel_tool_calls: bool | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Nothing = None
    safety_identifier: str | None = None
    """The caller's label; has no effect."""
    prompt_cache_key: str | None = None
    """The caller's label; has no effect, since every prompt's prefix is cached."""


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A parsed request."""

    model: str
    request: TextRequest
    stream: bool
    include_usage: bool


class FunctionCall(WireReply):
    """Name and arguments of a called function."""

    name: str
    arguments: str


class ChatCompletionMessageToolCall(WireReply):
    """A tool call of the model."""

    id: str
    function: FunctionCall
    type: str = "function"


class ChatCompletionMessage(WireReply):
    """The model's answer."""

    content: str | None
    role: str = "assistant"
    refusal: None = None
    tool_calls: list[ChatCompletionMessageToolCall] | None = None
    reasoning_content: str | UnsetType = UNSET
    """The model's reasoning before the answer. An extension, named as in DeepSeek's API and vLLM."""


class Choice(WireReply):
    """One of the `n` choices."""

    index: int
    message: ChatCompletionMessage
    finish_reason: FinishReason
    logprobs: ChoiceLogprobs | None = None


class ChatCompletion(WireReply):
    """The reply to a request that does not stream."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    timings: Timings
    object: str = "chat.completion"


class ChoiceDeltaFunction(WireReply, omit_defaults=True, kw_only=True):
    """The next piece of a function call; its name only once."""

    name: str | None = None
    arguments: str


class ChoiceDeltaToolCall(WireReply, omit_defaults=True):
    """The next piece of a tool call."""

    index: int
    function: ChoiceDeltaFunction
    id: str | None = None
    type: str | None = None


class ChoiceDelta(WireReply, omit_defaults=True):
    """The next piece of a choice."""

    role: str | None = None
    content: str | None = None
    tool_calls: list[ChoiceDeltaToolCall] | None = None
    reasoning_content: str | None = None


class ChunkChoice(WireReply):
    """What a chunk adds to one of the `n` choices."""

    index: int
    delta: ChoiceDelta
    finish_reason: FinishReason | None = None
    logprobs: ChoiceLogprobs | None = None


class ChatCompletionChunk(WireReply, omit_defaults=True):
    """One event of a stream."""

    id: str
    created: int
    model: str
    object: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | None = None
    timings: Timings | None = None


def parse(body: Mapping[str, Any]) -> ChatCall:
    """The request behind a JSON body.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(ChatCompletionRequest, body)
    if wire.max_tokens is not None and wire.max_completion_tokens is not None:
        raise invalid("max_tokens", "cannot be combined with 'max_completion_tokens'; send one of them")
    if wire.top_logprobs is not None and not wire.logprobs:
        raise invalid("top_logprobs", "requires 'logprobs' to be true")
    output, schema = parse_output(wire.response_format)
    request = TextRequest(
        messages=parse_messages(wire.messages),
        max_tokens=wire.max_completion_tokens or wire.max_tokens,
        tools=parse_tools(wire.tools or []),
        tool_choice=parse_tool_choice(wire.tools or [], wire.tool_choice),
        parallel_tool_calls=wire.parallel_tool_calls is not False,
        output=output,
        schema=schema,
        logprobs=(wire.top_logprobs or 0) if wire.logprobs else None,
        reasoning_effort=wire.reasoning_effort,
        **wire.sampling(),
    )
    return ChatCall(wire.model, request, bool(wire.stream), wire.include_usage)


def render(call: ChatCall, model: str, events: Sequence[TextEvent]) -> ChatCompletion:
    """The whole reply, from the events of `TextAdapter.generate`."""
    texts: dict[int, list[str]] = {index: [] for index in range(call.request.n)}
    reasoning: dict[int, list[str]] = {index: [] for index in texts}
    logprobs: dict[int, list[TokenLogprob]] = {index: [] for index in texts}
    calls: dict[int, dict[int, ToolCall]] = {index: {} for index in texts}
    reasons: dict[int, FinishReason] = {}
    done = TextDone(Usage(), 0.0)
    for event in events:
        if isinstance(event, TextDone):
            done = event
            continue
        texts[event.index].append(event.text)
        reasoning[event.index].append(event.reasoning)
        logprobs[event.index].extend(event.logprobs)
        for piece in event.tool_calls:
            before = calls[event.index].get(piece.index)
            calls[event.index][piece.index] = piece if before is None else merge_tool_call(before, piece)
        if event.finish_reason is not None:
            reasons[event.index] = event.finish_reason
    choices = [
        Choice(
            index=index,
            message=_message(
                "".join(pieces), "".join(reasoning[index]), [calls[index][at] for at in sorted(calls[index])]
            ),
            finish_reason=reasons.get(index, "stop"),
            logprobs=None if call.request.logprobs is None else ChoiceLogprobs(render_logprobs(logprobs[index])),
        )
        for index, pieces in texts.items()
    ]
    return ChatCompletion(
        id=new_id("chatcmpl-"),
        created=int(time.time()),
        model=model,
        choices=choices,
        usage=render_usage(done),
        timings=render_timings(done),
    )


def _message(text: str, reasoning: str, calls: Sequence[ToolCall]) -> ChatCompletionMessage:
    rendered = [
        ChatCompletionMessageToolCall(id=call.id, function=FunctionCall(name=call.name, arguments=call.arguments))
        for call in calls
    ]
    return ChatCompletionMessage(
        content=text if text or not calls else None,
        tool_calls=rendered or None,
        reasoning_content=reasoning or UNSET,
    )


async def stream(
    call: ChatCall, model: str, events: AsyncGenerator[TextEvent], outlet: Outlet | None = None
) -> AsyncGenerator[bytes]:
    """The reply as server-sent events, `[DONE]` last, each sent as soon as it is known. Closing this closes `events`.

    Args:
        call: The request.
        model: The served name.
        events: From `TextAdapter.generate`.
        outlet: The same as for `generate`. Set to encode plain text once the first chunk has been made.
    """
    identity: dict[str, Any] = {
        "id": new_id("chatcmpl-"),
        "created": int(time.time()),
        "model": model,
        "object": "chat.completion.chunk",
    }
    plain = sse.Template(
        ChatCompletionChunk(**identity, choices=[_chunk_choice(TextDelta(sse.PLACEHOLDER), [], first=False)])
    )
    opened: set[int] = set()
    named: set[tuple[int, int]] = set()
    """Choice and index of the tool calls whose id and name have been sent."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDone):
                if call.include_usage:
                    yield sse.frame(
                        ChatCompletionChunk(
                            **identity, choices=[], usage=render_usage(event), timings=render_timings(event)
                        )
                    )
                continue
            first = event.index not in opened
            opened.add(event.index)
            if outlet is not None:
                outlet.encode = plain.fill
            calls = _tool_call_deltas(event, named) if event.tool_calls else []
            yield sse.frame(ChatCompletionChunk(**identity, choices=[_chunk_choice(event, calls, first)]))
    yield sse.DONE


def _tool_call_deltas(event: TextDelta, named: set[tuple[int, int]]) -> list[ChoiceDeltaToolCall]:
    """One entry per call, as clients expect: its id, type and name only in its first entry of the stream.

    Args:
        event: With pieces of calls, several of one call among them.
        named: Choice and index of the calls that have had their first entry; grows.
    """
    merged: dict[int, ToolCall] = {}
    for piece in event.tool_calls:
        merged[piece.index] = merge_tool_call(merged[piece.index], piece) if piece.index in merged else piece
    entries: list[ChoiceDeltaToolCall] = []
    for index, call in merged.items():
        function = ChoiceDeltaFunction(arguments=call.arguments)
        entry = ChoiceDeltaToolCall(index, function)
        if (event.index, index) not in named and call.name:
            named.add((event.index, index))
            entry.id, entry.type, function.name = call.id or None, "function", call.name
        entries.append(entry)
    return entries


def _chunk_choice(event: TextDelta, calls: list[ChoiceDeltaToolCall], first: bool) -> ChunkChoice:
    delta = ChoiceDelta(
        role="assistant" if first else None,
        content=event.text if event.text or (first and not calls and not event.reasoning) else None,
        tool_calls=calls or None,
        reasoning_content=event.reasoning or None,
    )
    logprobs = ChoiceLogprobs(render_logprobs(event.logprobs)) if event.logprobs else None
    return ChunkChoice(index=event.index, delta=delta, finish_reason=event.finish_reason, logprobs=logprobs)
