"""`truncation: auto`, on a model that says exactly what fits."""

from collections.abc import AsyncGenerator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.base import JudgeRequest, JudgeResult, Message, TextAdapter, TextDelta, TextEvent, TextPart, TextRequest
from adapters.errors import ContextLengthExceeded, GenerationFailed
from compat.responses.conversation import cuts, shortened
from server.responses.truncation import generate_truncated


class Narrow(TextAdapter):
    """Takes so many messages, and knows what it has been asked."""

    def __init__(self, takes: int) -> None:
        self.takes, self.asked, self.read, self.open = takes, 0, 0, 0

    @property
    def supports_images(self) -> bool:
        return False

    async def generate(self, request: TextRequest) -> AsyncGenerator[TextEvent]:
        self.asked += 1
        if len(request.messages) > self.takes:
            raise ContextLengthExceeded("too long")
        self.read += 1
        self.open += 1
        try:
            yield TextDelta(str(len(request.messages)))
            yield TextDelta(" ".join(part.text for message in request.messages for part in message.content))
            if request.stop:
                raise GenerationFailed("told to")
        finally:
            self.open -= 1

    async def judge(self, request: JudgeRequest) -> JudgeResult:
        raise NotImplementedError

    @classmethod
    async def load(cls, model: object, report: object) -> "Narrow":
        raise NotImplementedError

    async def unload(self) -> None:
        raise NotImplementedError


def talk(turns: int) -> tuple[Message, ...]:
    said = [Message("system", (TextPart("rules"),))]
    for turn in range(turns):
        said.append(Message("user", (TextPart(f"q{turn}"),)))
        said.append(Message("assistant", (TextPart(f"a{turn}"),)))
    return tuple(said)


async def answer(adapter: Narrow, request: TextRequest) -> str:
    pieces = [event.text async for event in generate_truncated(adapter, request) if isinstance(event, TextDelta)]
    assert adapter.open == 0
    return pieces[-1]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.integers(1, 200), st.integers(1, 450))
async def test_little_is_dropped_and_nothing_is_read_twice(turns: int, takes: int) -> None:
    whole, adapter = talk(turns), Narrow(takes)
    said = [
        " ".join(p.text for m in one for p in m.content) for one in (whole, *(shortened(whole, s) for s in cuts(whole)))
    ]
    fits = [dropped for dropped, _ in enumerate(said) if 1 + 2 * (turns - dropped) <= takes]
    request = TextRequest(messages=whole)
    if not fits:
        with pytest.raises(ContextLengthExceeded):
            await answer(adapter, request)
        assert adapter.read == 0
    else:
        dropped = said.index(await answer(adapter, request))
        assert fits[0] <= dropped <= fits[0] + (turns - fits[0]) // 16
        assert adapter.read == 1
    assert adapter.asked <= 16 + 16 * turns.bit_length()


async def test_other_failures_pass_through_and_nothing_stays_open() -> None:
    adapter = Narrow(5)
    with pytest.raises(GenerationFailed):
        await answer(adapter, TextRequest(messages=talk(9), stop=("x",)))
    assert adapter.open == 0
    events = generate_truncated(adapter, TextRequest(messages=talk(9)))
    await anext(events)
    await events.aclose()
    assert adapter.open == 0
