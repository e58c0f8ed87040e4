"""Streams of text: what holds the model ends when the reply does."""

import json
from collections.abc import AsyncGenerator

import pytest

from adapters.base import TextDelta, TextEvent, ToolCall
from compat import completions
from compat.chat import reply, request

CHAT = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize("route", ["chat", "completions"])
async def test_promise_10_closing_a_stream_has_closed_its_events(route: str) -> None:
    closed: list[bool] = []

    async def events() -> AsyncGenerator[TextEvent]:
        try:
            while True:
                yield TextDelta("x")
        finally:
            closed.append(True)

    held = events()  # so that the garbage collector closes nothing
    if route == "chat":
        frames = reply.stream(request.parse(CHAT), "m", held)
    else:
        frames = completions.stream(completions.parse({"model": "m", "stream": True, "prompt": "x"}), "m", held)
    assert (await anext(frames)).startswith(b"data: ")
    await frames.aclose()
    assert closed


async def test_a_chunk_has_one_entry_per_tool_call_and_a_later_one_only_what_is_new() -> None:
    async def events() -> AsyncGenerator[TextEvent]:
        yield TextDelta(tool_calls=(ToolCall("a", "f", "", 0), ToolCall("", "", '{"x"', 0)))
        yield TextDelta(tool_calls=(ToolCall("", "", ": 1", 0), ToolCall("", "", "}", 0), ToolCall("b", "g", "", 1)))
        yield TextDelta(tool_calls=(ToolCall("b", "g", "{}", 1),))
        yield TextDelta(finish_reason="tool_calls")

    frames = [frame async for frame in reply.stream(request.parse(CHAT), "m", events())]
    chunks = [json.loads(frame.removeprefix(b"data: ")) for frame in frames[:-1]]
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {
            "role": "assistant",
            "tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x"'}}],
        },
        {
            "tool_calls": [
                {"index": 0, "function": {"arguments": ": 1}"}},
                {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
