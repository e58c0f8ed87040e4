"""Token ids of texts and texts of token ids: always as the tokenizer itself."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.servers import model_path

from adapters.text.output.detokenizer import Detokenizer
from adapters.text.prompts.token_cache import TokenCache

MARKS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")


@pytest.fixture(scope="module")
async def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(await model_path("qwen2.5-coder-0.5b-instruct"))


@given(st.lists(st.sampled_from(MARKS) | st.text(max_size=30) | st.sampled_from(("user\n", "\n", "  ")), max_size=20))
def test_segments_are_read_as_the_whole_text(tokenizer: Any, parts: list[str]) -> None:
    text = "".join(parts)
    cache = TokenCache(tokenizer)
    assert cache._split is not None
    plain = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
    assert cache.encode([text]) == plain
    assert cache.encode([text]) == plain  # from the cache


def test_texts_are_tokenized_separately(tokenizer: Any) -> None:
    cache = TokenCache(tokenizer)
    apart = cache.encode(["<", "|im_end|>"])
    assert apart != cache.encode(["<|im_end|>"])
    assert tokenizer.decode(apart) == "<|im_end|>"


def test_promise_28_the_cache_is_bounded(tokenizer: Any) -> None:
    cache = TokenCache(tokenizer, max_bytes=50_000)
    for number in range(200):
        cache.encode([f"<|im_start|>{number} {'word ' * 100}<|im_end|>"])
        assert cache._bytes <= 50_000
    assert 0 < len(cache._cache) < 60
    cache.encode(["word " * 100_000])
    assert cache._bytes <= 50_000


def test_a_tokenizer_that_reads_segments_otherwise_is_not_cached(tokenizer: Any) -> None:
    class Odd:
        backend_tokenizer = None

        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

        def __call__(self, texts: list[str], **options: Any) -> Any:
            return tokenizer([" " + text for text in texts], **options)  # as some put a space before every text

    cache = TokenCache(Odd())
    assert cache._split is None
    assert cache.encode(["Hello"]) == tokenizer(" Hello", add_special_tokens=False)["input_ids"]


@pytest.fixture(scope="module")
def detokenizer(tokenizer: Any) -> Detokenizer:
    found = Detokenizer(tokenizer)
    assert found.exact
    return found


@given(st.lists(st.sampled_from(MARKS) | st.text(max_size=20), max_size=10))
def test_tokens_spell_the_text(tokenizer: Any, detokenizer: Detokenizer, parts: list[str]) -> None:
    tokens = tokenizer.encode("".join(parts), add_special_tokens=False)
    read = detokenizer.reader()
    assert "".join(read([token]) for token in tokens) == tokenizer.decode(tokens, skip_special_tokens=True)


@given(st.lists(st.integers(0, 151_935), max_size=60))
def test_promise_7_any_tokens_give_the_text_of_the_tokenizer(
    tokenizer: Any, detokenizer: Detokenizer, tokens: list[int]
) -> None:
    read = detokenizer.reader()
    text = "".join(read([token]) for token in tokens)
    assert tokenizer.decode(tokens, skip_special_tokens=True).rstrip("\ufffd") == text.rstrip("\ufffd")
