"""Promise 42: texts far beyond the context are refused after counting a part of them."""

import pytest

from adapters.errors import ContextLengthExceeded
from adapters.text.prompts.length import PIECE_CHARACTERS, check_length


class Counter:
    """Counts a token for each four characters, and one for each piece, as a tokenizer does at a cut."""

    def __init__(self) -> None:
        self.characters = 0

    async def __call__(self, text: str) -> int:
        self.characters += len(text)
        return len(text) // 4 + 1


async def test_texts_that_fit_are_counted_whole() -> None:
    count = Counter()
    await check_length(["x" * 40_000, "", "x" * 5], 10_001, 1, count, param="messages")
    assert count.characters == 40_005


async def test_promise_42_counting_ends_at_the_piece_that_exceeds_the_context() -> None:
    count = Counter()
    with pytest.raises(ContextLengthExceeded) as caught:
        await check_length(["x" * 100_000_000], 10_000, 1, count, param="prompt")
    assert count.characters <= 40_000 + PIECE_CHARACTERS
    assert caught.value.param == "prompt"
    assert "maximum context length is 10000 tokens" in caught.value.message
    assert "at least" in caught.value.message


async def test_promise_42_many_short_texts_count_together() -> None:
    count = Counter()
    with pytest.raises(ContextLengthExceeded):
        await check_length(["x" * 400] * 1_000_000, 1000, 1, count, param="messages")
    assert count.characters == 4400


async def test_prompts_share_the_limit() -> None:
    await check_length(["x" * 4000] * 2, 1000, 2, Counter(), param="input")
    with pytest.raises(ContextLengthExceeded):
        await check_length(["x" * 4000] * 2 + ["x" * 4], 1000, 2, Counter(), param="input")
