"""Streams of text: what holds the model ends when the reply does."""

from collections.abc import AsyncGenerator

import pytest

from adapters.base import TextDelta, TextEvent
from compat import completions
from compat.chat import request

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
        frames = request.stream(request.parse(CHAT), "m", held)
    else:
        frames = completions.stream(completions.parse({"model": "m", "stream": True, "prompt": "x"}), "m", held)
    assert (await anext(frames)).startswith(b"data: ")
    await frames.aclose()
    assert closed
