"""How options become tokens, and log-probabilities become probabilities; without any model."""

import io
import math
import random
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adapters.base import ImagePart, Media
from adapters.errors import UnsupportedOption
from adapters.text.judge import first_token, sequences
from adapters.text.prompts.images import HIGH_SIDE, LOW_SIDE, MaxSides, decode, max_sides

LETTERS = {chr(code): code for code in range(32, 127)}


def encode(text: str) -> list[int]:
    """One token a character."""
    return [LETTERS[character] for character in text]


class Scripted:
    """A model of which the distributions behind everything are made up, and add up to one."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.asked: list[tuple[int, ...]] = []

    def logprob(self, prefix: tuple[int, ...], token: int) -> float:
        chance = random.Random(f"{self.seed}/{prefix}")
        weights = {one: chance.random() ** 4 for one in (*LETTERS.values(), sequences.END)}
        return math.log(weights[token] / sum(weights.values()))

    async def ask(self, prefix: tuple[int, ...], tokens: Sequence[int]) -> Mapping[int, float]:
        self.asked.append(prefix)
        return {token: self.logprob(prefix, token) for token in tokens}

    def sequence(self, tokens: Sequence[int]) -> float:
        return sum(self.logprob(tuple(tokens[:at]), token) for at, token in enumerate(tokens))


def test_a_spelling_belongs_to_one_option_only():
    assert first_token.spellings(["yes", "no"]) == [("yes", "Yes", " yes", " Yes"), ("no", "No", " no", " No")]
    assert first_token.spellings(["Yes", "yes", "YES"]) == [("Yes", " Yes"), ("yes", " yes"), ("YES", " YES")]
    assert first_token.spellings(["ABc", "aBC"])[0] == (
        "ABc",
        " ABc",
    )  # both would be "abc" in small letters


@pytest.mark.parametrize("options", [["red", " red"], ["", "red"], ["red", " \n"]])
def test_options_must_differ_and_say_something(options: list[str]):
    with pytest.raises(UnsupportedOption) as caught:
        first_token.spellings(options)
    assert caught.value.param == "questions"


def test_first_tokens_are_enough_where_they_differ():
    def first(text: str) -> int | None:
        return None if text.startswith(" ") else encode(text)[0]

    assert first_token.first_tokens(first_token.spellings(["red", "blue"]), first) == [[82, 114], [66, 98]]
    assert first_token.first_tokens(first_token.spellings(["red", "rose"]), first) is None


def test_the_end_counts_only_where_one_option_begins_another():
    options = sequences.sequences(first_token.spellings(["1", "2"]), encode)
    assert options == [((49,), (32, 49)), ((50,), (32, 50))]
    options = sequences.sequences(first_token.spellings(["1", "10"]), encode)
    assert options[0] == ((49, sequences.END), (32, 49, sequences.END))


def test_options_with_the_same_tokens_are_refused():
    with pytest.raises(UnsupportedOption, match="the same tokens"):
        sequences.sequences([("a",), ("b",)], lambda _: [1])
    with pytest.raises(UnsupportedOption, match="tokens"):
        sequences.sequences([("a" * 65,), ("b",)], encode)


@pytest.mark.parametrize("options", [["1", "2", "3"], ["ab", "ac"], ["x1", "x2", "y"], ["1", "10", "100"], ["a", "ab"]])
@pytest.mark.parametrize("seed", range(5))
async def test_scores_are_whole_sequences_by_their_length(options: list[str], seed: int):
    model = Scripted(seed)
    found = sequences.sequences(first_token.spellings(options), encode)
    result = await sequences.score(found, model.ask)
    totals = [sum(math.exp(model.sequence(one)) for one in variants) for variants in found]
    lengths = [len(variants[0]) for variants in found]
    even = len(set(lengths)) == 1
    weights = [total if even else total ** (1 / length) for total, length in zip(totals, lengths, strict=True)]
    assert result.probabilities == pytest.approx([weight / sum(weights) for weight in weights], abs=1e-4)
    assert result.mass == pytest.approx(sum(totals), rel=1e-4)
    assert len(model.asked) == len(set(model.asked))  # nothing is asked twice


async def test_very_unlikely_spellings_are_dropped():
    asked: list[tuple[int, ...]] = []

    async def ask(prefix: tuple[int, ...], tokens: Sequence[int]) -> Mapping[int, float]:
        asked.append(prefix)
        return {token: -20.0 if token == 32 else -1.0 for token in tokens}

    result = await sequences.score(sequences.sequences(first_token.spellings(["1", "10"]), encode), ask)
    assert sum(result.probabilities) == pytest.approx(1)
    assert all(prefix[:1] != (32,) for prefix in asked)


async def test_impossible_options_are_equally_likely():
    async def never(_: tuple[int, ...], tokens: Sequence[int]) -> Mapping[int, float]:
        return dict.fromkeys(tokens, -math.inf)

    result = await sequences.score(sequences.sequences(first_token.spellings(["1", "12"]), encode), never)
    assert (result.probabilities, result.mass) == ((0.5, 0.5), 0.0)
    assert first_token.judgement([[1], [2]], {1: -math.inf, 2: -math.inf}).probabilities == (0.5, 0.5)


@given(st.lists(st.floats(-700, 0), min_size=2, max_size=255), st.floats(0.05, 20))
def test_probabilities_sum_to_one_at_every_temperature(scores: list[float], temperature: float):
    found = first_token.softmax(scores, 0.5, temperature)
    assert sum(found.probabilities) == pytest.approx(1)
    most_likely = max(range(len(scores)), key=lambda at: scores[at])
    assert found.probabilities[most_likely] == max(found.probabilities)


def test_a_temperature_above_one_makes_less_certain():
    sure, less = (first_token.judgement([[1], [2]], {1: -0.1, 2: -2.4}, t).probabilities[0] for t in (1.0, 2.0))
    assert sure == pytest.approx(1 / (1 + math.exp(-2.3)))
    assert less == pytest.approx(1 / (1 + math.exp(-1.15)))


def test_details_are_those_of_the_models_tiles():
    tiles = SimpleNamespace(image_grid_pinpoints=[[384, 384], [384, 768], [2304, 2304]])
    assert max_sides(tiles) == MaxSides(384, 4608)
    assert max_sides(SimpleNamespace()) == MaxSides(LOW_SIDE, HIGH_SIDE)


def shown(side: int) -> Media:
    out = io.BytesIO()
    Image.new("RGB", (side, side // 2)).save(out, "PNG")
    return Media("image/png", out.getvalue())


@pytest.mark.parametrize(("detail", "width"), [("low", 384), ("auto", 1000), ("high", 1000)])
def test_images_are_scaled_down_to_their_detail(detail: Any, width: int):
    found = decode(ImagePart(shown(1500), detail), MaxSides(384, 1000), "input")
    assert found.image.size == (width, width // 2)
    assert decode(ImagePart(shown(100), detail), MaxSides(384, 1000), "input").image.size == (100, 50)
