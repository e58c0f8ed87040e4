"""Windows of long inputs, and token ids of OpenAI's tokenizer."""

import math
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.embedding.windows import averaged, truncated, windows
from adapters.errors import UnsupportedOption
from server.models.openai_ids import text_of

LIMIT = 8


@pytest.mark.slow
@given(st.integers(1, 100))
def test_windows_have_every_token_once_and_are_of_nearly_equal_length(length: int) -> None:
    ids = [1, *range(10, 10 + length), 2]
    found = windows(ids, LIMIT, 1, 1)
    assert [token for window in found for token in window[1:-1]] == ids[1:-1]
    assert all(window[0] == 1 and window[-1] == 2 and len(window) <= LIMIT for window in found)
    assert len(found) == math.ceil(length / (LIMIT - 2))


def test_what_is_too_long_is_dropped_at_one_side() -> None:
    ids = [1, *range(10, 20), 2]
    assert truncated(ids, LIMIT, 1, 1, "end") == [1, *range(10, 16), 2]
    assert truncated(ids, LIMIT, 1, 1, "start") == [1, *range(14, 20), 2]
    assert truncated(ids[:5], LIMIT, 1, 1, "end") == ids[:5]


def test_the_mean_is_weighted_and_of_length_one() -> None:
    mean = struct.unpack("<2f", averaged([struct.pack("<2f", 1, 0), struct.pack("<2f", 0, 1)], [3, 4]))
    assert mean == pytest.approx((0.6, 0.8))


def test_ids_of_openai_without_its_table_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with pytest.raises(UnsupportedOption, match="check_embedding_ctx_length=False"):
        text_of([9906, 1917])
