"""Replies of POST /v1/chat/completions: OpenAI's schemas, and rendering them from a model's events."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from adapters.base import FinishReason, Outlet, TextDelta, TextDone, TextEvent, TokenLogprob, ToolCall, Usage
from compat import sse
from compat.chat.request import ChatCall
from compat.chat.tools import merge_tool_call
from compat.logprobs import ChoiceLogprobs, render_logprobs
from compat.tools import CustomInput, input_of
from compat.usage import CompletionUsage, render_timings, render_tokens, render_usage
from compat.wire import Timings, WireReply, new_id

ChatFinishReason = FinishReason | Literal["function_call"]


class FunctionCall(WireReply):
    """Name and arguments of a called function."""

    name: str
    arguments: str


class CustomCall(WireReply):
    """Name and input of a called custom tool."""

    name: str
    input: str


class ChatCompletionMessageToolCall(WireReply, omit_defaults=True):
    """A tool call of the model: of a function or of a custom tool."""

    id: str
    type: str
    function: FunctionCall | UnsetType = UNSET
    custom: CustomCall | UnsetType = UNSET


class ChatCompletionMessage(WireReply):
    """The model's answer. Without calls it has no `tool_calls`."""

    content: str | None
    role: str = "assistant"
    refusal: None = None
    annotations: list[Any] = msgspec.field(default_factory=list[Any])
    tool_calls: list[ChatCompletionMessageToolCall] | UnsetType = UNSET
    function_call: FunctionCall | UnsetType = UNSET
    """The call, where the request has `functions`."""
    reasoning_content: str | UnsetType = UNSET
    """The model's reasoning before the answer. An extension, named as in DeepSeek's API and vLLM."""


class Choice(WireReply):
    """One of the `n` choices."""

    index: int
    message: ChatCompletionMessage
    finish_reason: ChatFinishReason
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
    service_tier: str = "default"


class ChoiceDeltaFunction(WireReply, omit_defaults=True, kw_only=True):
    """The next piece of a function call; its name only once."""

    name: str | None = None
    arguments: str


class ChoiceDeltaCustom(WireReply, omit_defaults=True, kw_only=True):
    """The next piece of a call of a custom tool; its name only once."""

    name: str | None = None
    input: str


class ChoiceDeltaToolCall(WireReply, omit_defaults=True):
    """The next piece of a tool call: only what is new."""

    index: int
    id: str | None = None
    type: str | None = None
    function: ChoiceDeltaFunction | None = None
    custom: ChoiceDeltaCustom | None = None


class ChoiceDelta(WireReply, omit_defaults=True):
    """The next piece of a choice."""

    role: str | None = None
    content: str | None = None
    tool_calls: list[ChoiceDeltaToolCall] | None = None
    function_call: ChoiceDeltaFunction | None = None
    reasoning_content: str | None = None


class ChunkChoice(WireReply):
    """What a chunk adds to one of the `n` choices."""

    index: int
    delta: ChoiceDelta
    finish_reason: ChatFinishReason | None = None
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
                call, "".join(pieces), "".join(reasoning[index]), [calls[index][at] for at in sorted(calls[index])]
            ),
            finish_reason=_finish_reason(call, reasons.get(index, "stop")),
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


def _message(call: ChatCall, text: str, reasoning: str, calls: Sequence[ToolCall]) -> ChatCompletionMessage:
    message = ChatCompletionMessage(content=text if text or not calls else None, reasoning_content=reasoning or UNSET)
    if calls and call.legacy:
        message.function_call = FunctionCall(calls[0].name, calls[0].arguments)
    elif calls:
        message.tool_calls = [_call(call, one) for one in calls]
    return message


def _call(call: ChatCall, made: ToolCall) -> ChatCompletionMessageToolCall:
    if made.name in call.custom:
        return ChatCompletionMessageToolCall(made.id, "custom", custom=CustomCall(made.name, input_of(made.arguments)))
    return ChatCompletionMessageToolCall(made.id, "function", function=FunctionCall(made.name, made.arguments))


def _finish_reason(call: ChatCall, reason: FinishReason) -> ChatFinishReason:
    return "function_call" if call.legacy and reason == "tool_calls" else reason


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
        ChatCompletionChunk(**identity, choices=[ChunkChoice(0, ChoiceDelta(content=sse.PLACEHOLDER))])
    )
    opened: set[int] = set()
    calls = _CallDeltas(call)
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
            choice = _chunk_choice(call, event, calls.next(event), first=first)
            usage = None if event.usage is None else render_tokens(event.usage)
            yield sse.frame(ChatCompletionChunk(**identity, choices=[choice], usage=usage))
    yield sse.DONE


class _CallDeltas:
    """Renders pieces of tool calls as clients expect: one entry per call and chunk, with only what is new in it."""

    def __init__(self, call: ChatCall) -> None:
        self._call = call
        self._begun: dict[tuple[int, int], CustomInput | None] = {}
        """Choice and index of the calls that have had their first entry; of custom tools with their reader."""

    def next(self, event: TextDelta) -> list[ChoiceDeltaToolCall]:
        merged: dict[int, ToolCall] = {}
        for piece in event.tool_calls:
            merged[piece.index] = merge_tool_call(merged[piece.index], piece) if piece.index in merged else piece
        entries = [self._entry((event.index, index), made) for index, made in merged.items()]
        if event.finish_reason is not None:
            entries += self._rests(event.index, entries)
        return entries

    def _entry(self, key: tuple[int, int], made: ToolCall) -> ChoiceDeltaToolCall:
        entry, name = ChoiceDeltaToolCall(key[1]), None
        custom = made.name in self._call.custom
        if key not in self._begun and made.name:
            self._begun[key] = CustomInput() if custom else None
            entry.id, entry.type, name = made.id or None, "custom" if custom else "function", made.name
        if (reader := self._begun.get(key)) is not None:
            entry.custom = ChoiceDeltaCustom(name=name, input=reader.feed(made.arguments))
        else:
            entry.function = ChoiceDeltaFunction(name=name, arguments=made.arguments)
        return entry

    def _rests(self, choice: int, entries: Sequence[ChoiceDeltaToolCall]) -> list[ChoiceDeltaToolCall]:
        """At the end of a choice: the input of custom calls that was held back."""
        found: list[ChoiceDeltaToolCall] = []
        for (of, index), reader in self._begun.items():
            rest = reader.rest() if of == choice and reader is not None else ""
            same = next((entry.custom for entry in entries if entry.index == index), None)
            if rest and same is not None:
                same.input += rest
            elif rest:
                found.append(ChoiceDeltaToolCall(index, custom=ChoiceDeltaCustom(input=rest)))
        return found


def _chunk_choice(call: ChatCall, event: TextDelta, calls: list[ChoiceDeltaToolCall], *, first: bool) -> ChunkChoice:
    delta = ChoiceDelta(
        role="assistant" if first else None,
        content=event.text if event.text or (first and not calls and not event.reasoning) else None,
        tool_calls=None if call.legacy else calls or None,
        function_call=calls[0].function if call.legacy and calls else None,
        reasoning_content=event.reasoning or None,
    )
    logprobs = ChoiceLogprobs(render_logprobs(event.logprobs)) if event.logprobs else None
    reason = None if event.finish_reason is None else _finish_reason(call, event.finish_reason)
    return ChunkChoice(index=event.index, delta=delta, finish_reason=reason, logprobs=logprobs)
