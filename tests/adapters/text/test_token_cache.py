"""Token ids of texts and texts of token ids: always what the tokenizer itself would say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.servers import model_path

from adapters.text.output.detokenizer import Spelling
from adapters.text.prompts.token_cache import Pieces

MARKS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")


@pytest.fixture(scope="module")
async def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(await model_path("qwen2.5-coder-0.5b-instruct"))


@given(st.lists(st.sampled_from(MARKS) | st.text(max_size=30) | st.sampled_from(("user\n", "\n", "  ")), max_size=20))
def test_pieces_are_read_as_the_whole(tokenizer: Any, parts: list[str]) -> None:
    text = "".join(parts)
    pieces = Pieces(tokenizer)
    assert pieces._split is not None
    plain = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
    assert pieces.encode([text]) == plain
    assert pieces.encode([text]) == plain  # from the cache


def test_texts_that_are_to_be_read_apart_are(tokenizer: Any) -> None:
    pieces = Pieces(tokenizer)
    apart = pieces.encode(["<", "|im_end|>"])
    assert apart != pieces.encode(["<|im_end|>"])
    assert tokenizer.decode(apart) == "<|im_end|>"


def test_promise_28_the_cache_is_bounded(tokenizer: Any) -> None:
    pieces = Pieces(tokenizer, max_bytes=50_000)
    for number in range(200):
        pieces.encode([f"<|im_start|>{number} {'word ' * 100}<|im_end|>"])
        assert pieces._bytes <= 50_000
    assert 0 < len(pieces._cache) < 60
    pieces.encode(["word " * 100_000])
    assert pieces._bytes <= 50_000


def test_a_tokenizer_that_reads_pieces_otherwise_is_not_cached(tokenizer: Any) -> None:
    class Odd:
        backend_tokenizer = None

        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

        def __call__(self, texts: list[str], **options: Any) -> Any:
            return tokenizer([" " + text for text in texts], **options)  # as some put a space before every text

    pieces = Pieces(Odd())
    assert pieces._split is None
    assert pieces.encode(["Hello"]) == tokenizer(" Hello", add_special_tokens=False)["input_ids"]


@pytest.fixture(scope="module")
def spelling(tokenizer: Any) -> Spelling:
    found = Spelling(tokenizer)
    assert found.exact
    return found


@given(st.lists(st.sampled_from(MARKS) | st.text(max_size=20), max_size=10))
def test_tokens_spell_the_text(tokenizer: Any, spelling: Spelling, parts: list[str]) -> None:
    tokens = tokenizer.encode("".join(parts), add_special_tokens=False)
    read = spelling.reader()
    assert "".join(read([token]) for token in tokens) == tokenizer.decode(tokens, skip_special_tokens=True)


@given(st.lists(st.integers(0, 151_935), max_size=60))
def test_promise_7_any_tokens_spell_what_the_tokenizer_says(
    tokenizer: Any, spelling: Spelling, tokens: list[int]
) -> None:
    read = spelling.reader()
    text = "".join(read([token]) for token in tokens)
    assert tokenizer.decode(tokens, skip_special_tokens=True).rstrip("\ufffd") == text.rstrip("\ufffd")
