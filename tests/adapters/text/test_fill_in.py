"""Fill-in-the-middle prompts of every family of models."""

from typing import Any

import pytest

from adapters.errors import UnsupportedOption
from adapters.text.prompts.fill_in import FORMS, FillIn


class Vocabulary:
    """A tokenizer with only a vocabulary."""

    def __init__(self, *tokens: str) -> None:
        self._ids = {token: 100 + at for at, token in enumerate(tokens)}

    def get_vocab(self) -> dict[str, int]:
        return self._ids


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form[0])
def test_prefix_and_suffix_stand_between_the_tokens_of_the_family(form: tuple[str, str, str]) -> None:
    fill_in = FillIn(Vocabulary("other", *form))
    assert fill_in.prompt([1, 2], [3]) == [101, 1, 2, 102, 3, 103]
    assert fill_in.prompt([], []) == [101, 102, 103]
    assert set(fill_in.ends) == {101, 102, 103}


def test_further_tokens_end_the_text() -> None:
    assert FillIn(Vocabulary(*FORMS[0], "<|endoftext|>", "<|fim_pad|>", "x")).ends == (100, 101, 102, 104, 103)


@pytest.mark.parametrize("tokens", [(), ("x",), FORMS[0][:2], (FORMS[0][0], FORMS[1][1], FORMS[1][2])], ids=str)
def test_a_model_without_all_three_tokens_refuses_a_suffix(tokens: Any) -> None:
    fill_in = FillIn(Vocabulary(*tokens))
    with pytest.raises(UnsupportedOption) as caught:
        fill_in.prompt([1], [2])
    assert caught.value.param == "suffix"
