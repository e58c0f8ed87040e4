"""Output of the fake text models."""

import hashlib
import math
import re
import struct
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TypeGuard

from adapters.base import (
    CandidateToken,
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
from adapters.fake.script import ANSWER, CALL, DIRECTIVE, THINK

WIDTH = 64
"""Maximum dimensions of a fake embedding."""


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


def _is_text(event: TextEvent) -> TypeGuard[TextDelta]:
    return isinstance(event, TextDelta) and event == TextDelta(event.text)


def text_events(request: TextRequest, prompt: str, prompt_tokens: int, wanted: int) -> Iterator[TextEvent]:
    """The events of `FakeText`: reasoning, tool calls or words, for each of n answers."""
    script: Mapping[str, str] = dict(DIRECTIVE.findall(prompt))
    calls = CALL.findall(prompt) if request.tools and request.tool_choice != "none" else []
    calls = calls if request.parallel_tool_calls else calls[:1]
    if "tokens" in script:
        words = [f" word{i}" for i in range(min(int(script["tokens"]), wanted + 1))]
    else:
        words = re.findall(r"\s*\S+", prompt.rstrip())  # without `rstrip`, trailing blanks would take quadratic time
    text, reason = "".join(words[:wanted]), "length" if len(words) > wanted else "stop"
    cut = min((at for stop in request.stop if (at := text.find(stop)) >= 0), default=None)
    pieces = re.findall(r"\s*\S+", (text if cut is None else text[:cut]).rstrip())  # see above
    think = THINK.search(prompt) if request.reasoning_effort != "none" else None
    reasoning = re.findall(r"\s*\S+", think[1]) if think else []
    for index in range(request.n):
        for piece in reasoning:
            yield TextDelta(index=index, reasoning=piece)
        for at, (name, arguments) in enumerate(calls):
            half = len(arguments) // 2
            yield TextDelta(index=index, tool_calls=(ToolCall(f"call_{index}_{at}", name, "", at),))
            yield TextDelta(index=index, tool_calls=(ToolCall("", "", arguments[:half], at),))
            yield TextDelta(index=index, tool_calls=(ToolCall("", "", arguments[half:], at),))
        if calls:
            yield TextDelta(index=index, finish_reason="tool_calls")
            continue
        if request.echo:
            yield TextDelta(prompt, index, logprobs=_logprobs(prompt, request.logprobs))
        for piece in pieces:
            yield TextDelta(piece, index, logprobs=_logprobs(piece, request.logprobs))
        yield TextDelta("", index, finish_reason="length" if reason == "length" and cut is None else "stop")
    text_tokens, reasoning_tokens = len(pieces) * request.n, len(reasoning) * request.n
    yield TextDone(Usage(prompt_tokens, text_tokens + reasoning_tokens, reasoning_tokens=reasoning_tokens), 1.0)


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
