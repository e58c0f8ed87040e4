"""Questions about the world: put as the server puts them, and answered by what is drawn."""

import random
from collections import Counter

import pytest

from adapters.base import Question
from adapters.text.judge.first_token import answer_tokens
from starter.lexicon import named
from starter.questions import (
    NUMBERS,
    altered,
    choice,
    compare,
    describe,
    fits,
    odd_one,
    odd_set,
    predicate,
    score,
    several,
    validation,
    which,
)
from starter.vision import tokenizer
from starter.world import ATTRIBUTES, scenes


def test_a_validation_asks_the_whole_and_the_elements_as_the_server_does():
    rng, stream = random.Random(1), scenes(held=False, seed=1)
    answers = Counter[str]()
    for _ in range(300):
        scene = next(stream)
        whole, *parts = validation(scene, rng)
        assert "Answer the question with exactly one of these, and nothing else: yes, no" in whole.text
        description = whole.text.partition('description: "')[2].removesuffix('"?')
        assert (whole.answer == "yes") is fits(scene, description)
        for part in parts:
            element = part.text.partition('show this: "')[2].removesuffix('"?')
            assert element.strip(".") in description
            assert (part.answer == "yes") is fits(scene, element)
        answers[whole.answer] += 1
    assert min(answers["yes"], answers["no"]) > 90


@pytest.mark.parametrize("count", [1, 3, 5])
def test_altered_scenes_differ_in_so_many_attributes(count: int):
    scene = next(scenes(held=False, seed=1))
    other = altered(scene, random.Random(count), count)
    assert sum(a != b for a, b in zip(scene.values(), other.values(), strict=True)) == count


def test_choices_scores_and_descriptions_hold_the_truth():
    rng, stream = random.Random(2), scenes(held=False, seed=3)
    for _ in range(200):
        scene = next(stream)
        one = choice(scene, rng)
        assert one.answer in one.options
        assert one.answer in scene.values()
        level = score(scene, rng)
        described = named(level.text.rpartition("Question: ")[2])
        wrong = sum(getattr(scene, name) != value for name, value in described.items())
        assert level.answer == NUMBERS[4 - wrong]
        assert named(describe(scene, rng).answer) == dict(zip(ATTRIBUTES, scene.values(), strict=True))
        assert predicate(scene, rng).options == ("yes", "no")
        assert len(several(scene, rng, 7)) == 7


def test_sets_have_one_odd_picture_and_pairs_say_what_they_share():
    rng, stream = random.Random(4), scenes(held=False, seed=5)
    for _ in range(50):
        group, odd = odd_set(next(stream), rng, 4)
        counts = Counter((scene.subject, scene.colour, scene.setting) for scene in group)
        assert counts[(group[odd].subject, group[odd].colour, group[odd].setting)] == 1
        assert odd_one(group, odd).answer == NUMBERS[odd]
        pointed = which(group, odd, rng)
        shown = named(pointed.text.partition('shows this: "')[2])
        assert [fits(scene, pointed.text) for scene in group].count(True) == 1, shown
        assert fits(group[NUMBERS.index(pointed.answer)], " ".join(shown.values()))
        for asked in compare(group, rng):
            assert asked.options == ("yes", "no")


def test_every_option_begins_with_a_token_of_its_own():
    words = tokenizer()

    def first(text: str) -> int | None:
        ids = words(text, add_special_tokens=False).input_ids
        return ids[0] if ids else None

    for options in (*ATTRIBUTES.values(), NUMBERS, ("yes", "no"), ("Kitchen", "Bathroom", "Garden", "Attic")):
        assert len(answer_tokens(Question("Which?", tuple(options)), first)) == len(options)
