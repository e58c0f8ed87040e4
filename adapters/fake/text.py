"""Output of the fake text models."""

import hashlib
import math
import re
import struct
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

from adapters.base import (
    CandidateToken,
    FinishReason,
    Judgement,
    Outlet,
    Part,
    Question,
    TextDelta,
    TextDone,
    TextEvent,
    TextPart,
    TextRequest,
    TokenLogprob,
    ToolCall,
    Usage,
)
from adapters.fake.json_instances import instance_json, is_json
from adapters.fake.script import ANSWER, CALL, DIRECTIVE, THINK

WIDTH = 64
"""Maximum dimensions of a fake embedding."""
PIECE = 8
"""Characters of JSON that count as one token."""


def prompt_text(request: TextRequest) -> str:
    """The text of the last message, or the prompt."""
    if not request.messages:
        return request.prompt if isinstance(request.prompt, str) else " ".join(map(str, request.prompt or ()))
    return " ".join(part.text for part in request.messages[-1].content if isinstance(part, TextPart))


async def skip_written(
    outlet: Outlet | None, events: AsyncGenerator[TextEvent], request: TextRequest
) -> AsyncGenerator[TextEvent]:
    """The events without the plain text deltas that the outlet accepted."""
    first = True
    async with aclosing(events):
        async for event in events:
            if not first and request.n == 1 and outlet is not None and _is_text(event) and outlet.write(event.text):
                continue
            first = False
            yield event


async def with_usage(events: AsyncGenerator[TextEvent], prompt_tokens: int) -> AsyncGenerator[TextEvent]:
    """The events, each with the usage so far."""
    generated = 0
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDelta):
                generated += bool(event.text or event.tool_calls or event.reasoning)
                event = replace(event, usage=Usage(prompt_tokens, generated))
            yield event


def _is_text(event: TextEvent) -> TypeGuard[TextDelta]:
    return isinstance(event, TextDelta) and event == TextDelta(event.text)


def text_events(request: TextRequest, prompt: str, prompt_tokens: int, wanted: int) -> Iterator[TextEvent]:
    """The events of `FakeText`: reasoning, then tool calls or text, for each of n answers. A piece is a token."""
    script: Mapping[str, str] = dict(DIRECTIVE.findall(prompt))
    calls = _calls(request, prompt)
    thinks = request.reasoning_effort != "none" and request.template_arguments.get("enable_thinking") is not False
    think = THINK.search(prompt) if thinks else None
    reasoning = _words(think[1]) if think else []
    pieces, reason = _text(request, prompt, script, wanted)
    generated = 0
    for index in range(request.n):
        for piece in reasoning:
            yield TextDelta(index=index, reasoning=piece)
        if calls:
            left = wanted
            for at, (name, arguments) in enumerate(calls):
                for delta in _call_pieces(index, at, name, arguments, left):
                    left, generated = left - 1, generated + 1
                    yield delta
            ended = "tool_calls" if request.tool_choice in ("auto", "required") else "stop"
            yield TextDelta(index=index, finish_reason=ended if left > 0 else "length")
            continue
        if request.echo:
            yield TextDelta(prompt, index, logprobs=_logprobs(prompt, request.logprobs))
        for piece in pieces:
            yield TextDelta(piece, index, logprobs=_logprobs(piece, request.logprobs))
        generated += len(pieces)
        yield TextDelta("", index, finish_reason=reason)
    reasoning_tokens = len(reasoning) * request.n
    yield TextDone(Usage(prompt_tokens, generated + reasoning_tokens, reasoning_tokens=reasoning_tokens), 1.0)


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text.rstrip())  # without `rstrip`, trailing blanks would take quadratic time


def _calls(request: TextRequest, prompt: str) -> list[tuple[str, str]]:
    """Names and arguments of the calls of an answer: those that the prompt scripts, or one if one is required."""
    choice = request.tool_choice
    offered = {tool.name: tool for tool in request.tools if choice in ("auto", "required", tool.name)}
    if not offered:
        return []
    found = [(name, arguments) for name, arguments in CALL.findall(prompt) if name in offered]
    if not found and choice != "auto":
        first = next(iter(offered.values()))
        found = [(first.name, instance_json(first.parameters or None))]
    return found if request.parallel_tool_calls and choice in ("auto", "required") else found[:1]


def _call_pieces(index: int, at: int, name: str, arguments: str, left: int) -> Iterator[TextDelta]:
    """A call as engines send it: its name together with the first piece of its arguments, then more pieces."""
    pieces = [arguments[start : start + PIECE] for start in range(0, len(arguments), PIECE)][:left]
    for number, piece in enumerate(pieces):
        head = (ToolCall(f"call_{index}_{at}", name, "", at),) if number == 0 else ()
        yield TextDelta(index=index, tool_calls=(*head, ToolCall("", "", piece, at)))


def _text(request: TextRequest, prompt: str, script: Mapping[str, str], wanted: int) -> tuple[list[str], FinishReason]:
    """The pieces of an answer without calls, and how it ends."""
    if request.output != "text":
        scripted = prompt if prompt.startswith("{") and is_json(prompt) else None
        text = scripted or instance_json(request.schema if request.output == "json_schema" else None)
        pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
        return pieces[:wanted], "length" if len(pieces) > wanted else "stop"
    if "tokens" in script:
        words = [f" word{i}" for i in range(min(int(script["tokens"]), wanted + 1))]
    else:
        words = _words(prompt)
    text = "".join(words[:wanted])
    cut = min((at for stop in request.stop if (at := text.find(stop)) >= 0), default=None)
    return _words(text if cut is None else text[:cut]), "length" if len(words) > wanted and cut is None else "stop"


def _logprobs(piece: str, wanted: int | None) -> tuple[TokenLogprob, ...]:
    """One token of probability 0.5, and `wanted` alternatives, each half as probable as the one before."""
    if wanted is None:
        return ()
    alternatives = [
        CandidateToken(piece + "'" * n, (piece + "'" * n).encode(), -math.log(2) * (n + 1)) for n in range(wanted)
    ]
    return (TokenLogprob(CandidateToken(piece, piece.encode(), -math.log(2)), tuple(alternatives)),)


def part_bytes(part: Part) -> bytes:
    """The bytes of a message part: its text, or its encoded image."""
    if isinstance(part, TextPart):
        return part.text.encode()
    return Path(part.image.path).read_bytes() if part.image.path else part.image.data


def judgement(content: bytes, question: Question) -> Judgement:
    """The probability of each option, from a hash of the content, or as scripted."""
    mass = 0.001 if "[mute]" in question.text else 0.9
    count, scripted = len(question.options), ANSWER.search(question.text)
    if scripted and scripted[1] in question.options:
        probabilities = [0.9 if option == scripted[1] else 0.1 / (count - 1) for option in question.options]
        return Judgement(tuple(probabilities), mass)
    weights = [byte + 1 for byte in hashlib.sha512(content).digest()]
    chosen = [weights[index % len(weights)] for index in range(count)]
    return Judgement(tuple(weight / sum(chosen) for weight in chosen), mass)


def embedding(words: Sequence[str | int], dimensions: int) -> bytes:
    """float32 [dimensions], little-endian, of length one: the sum of vectors from hashes of the words."""
    total = [1e-3] * WIDTH  # an empty text needs a vector, too
    for word in words:
        total = [a + b - 127.5 for a, b in zip(total, hashlib.sha512(str(word).encode()).digest(), strict=True)]
    length = math.hypot(*total[:dimensions])
    return struct.pack(f"<{dimensions}f", *(number / length for number in total[:dimensions]))
