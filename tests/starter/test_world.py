"""The starter's world: large enough, split fairly, drawn the same every time, told in words that can be read back."""

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from starter.captions import caption, full_caption
from starter.clips import FRAMES, HINTS, MOTIONS, Clip, frame, frames, make_clip
from starter.drawing import draw
from starter.lexicon import named, phrases
from starter.words import WORDS
from starter.world import ATTRIBUTES, SIZE, Scene, combinations, held_out, scenes, split

ROOT = Path(__file__).parents[2]
FOX = Scene("forest", "fox", "red", "night", "rain")


def digest(scene: Scene) -> str:
    return hashlib.sha256(draw(scene).tobytes()).hexdigest()


def test_there_are_combinations_enough_and_a_tenth_is_held_out():
    everything = list(combinations())
    assert len(set(everything)) == len(everything) >= 1_500
    held, learnt = split(True), split(False)
    assert set(held).isdisjoint(learnt)
    assert len(held) + len(learnt) == len(everything)
    assert 0.08 < len(held) / len(everything) < 0.12
    assert all(held_out(values) for values in held)


@pytest.mark.parametrize("held", [True, False])
def test_both_sides_of_the_split_show_every_value(held: bool):
    for index, values in enumerate(ATTRIBUTES.values()):
        assert {combination[index] for combination in split(held)} == set(values)


def test_scenes_come_in_whole_rounds_and_keep_to_their_side():
    side = split(False)
    stream = scenes(held=False, seed=5)
    rounds = [next(stream).values() for _ in range(2 * len(side))]
    assert set(Counter(rounds).values()) == {2}
    assert set(rounds[: len(side)]) == set(side)
    again = scenes(held=False, seed=5)
    assert [next(again) for _ in range(5)] != [next(scenes(held=False, seed=6)) for _ in range(5)]


def test_a_scene_is_drawn_the_same_in_another_process():
    code = (
        "import hashlib; from starter.drawing import draw; from starter.world import Scene;"
        "print(hashlib.sha256(draw(Scene('forest','fox','red','night','rain')).tobytes()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "11"}
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert made.stdout.decode().strip() == digest(FOX)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_value_shows(name: str):
    """Changing one attribute alone changes at least one pixel in fifty clearly."""
    images = [np.asarray(draw(replace(FOX, **{name: value})), dtype=int) for value in ATTRIBUTES[name]]
    assert all(image.shape == (SIZE, SIZE, 3) for image in images)
    for index, first in enumerate(images):
        for second in images[:index]:
            assert (np.abs(first - second).max(axis=2) > 40).mean() > 0.02


def test_jitter_and_layout_show():
    assert len({digest(replace(FOX, x=x, layout=layout)) for x in (-20.0, 0.0, 20.0) for layout in (1, 2)}) == 6


def test_a_caption_says_what_it_tells_and_nothing_else():
    rng, stream = random.Random(1), scenes(held=False, seed=2)
    omitted = Counter[str]()
    texts = set[str]()
    for _ in range(3_000):
        scene = next(stream)
        made = caption(scene, rng)
        assert named(made.text) == {name: getattr(scene, name) for name in made.mentioned}, made.text
        omitted.update(set(ATTRIBUTES) - made.mentioned)
        texts.add(made.text)
    assert all(150 < omitted[name] < 900 for name in ATTRIBUTES if name != "subject")
    assert 0 < omitted["subject"] < 300
    assert len(texts) > 2_000


def test_a_caption_without_omissions_tells_all():
    rng, stream = random.Random(3), scenes(held=True, seed=2)
    for _ in range(300):
        scene = next(stream)
        assert caption(scene, rng, {}).mentioned == set(ATTRIBUTES)
        assert named(full_caption(scene)) == dict(zip(ATTRIBUTES, scene.values(), strict=True))


def test_phrases_name_their_value_and_captions_use_known_words():
    for name, values in ATTRIBUTES.items():
        for value in values:
            for phrase in phrases(name, value):
                assert named(phrase)[name] == value, phrase
            assert value in WORDS


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_film_begins_with_its_scene_and_moves_as_it_says(motion: str):
    clip = make_clip(Scene("meadow", "boat", "red", "day", "clear", layout=3), motion)
    made = [np.asarray(image, dtype=int) for image in frames(clip)]
    assert len(made) == FRAMES
    assert np.array_equal(made[0], np.asarray(draw(clip.scene), dtype=int))
    moved = np.abs(made[-1] - made[0]).max(axis=2) > 40
    assert bool(moved.mean() < 0.001) is (motion == "still")
    # Red pixels are the boat: where they go is where it goes.
    places = [np.argwhere((one[..., 0] > 180) & (one[..., 1] < 90) & (one[..., 2] < 90)) for one in (made[0], made[-1])]
    down, right = (places[1].mean(axis=0) - places[0].mean(axis=0)) if len(places[1]) else (0.0, 0.0)
    assert bool(right < -20) is (motion in ("left", "pan right"))  # A camera that pans right leaves the boat behind.
    if motion in ("right", "up"):
        assert bool(right > 20) is (motion == "right")
        assert bool(down < -20) is (motion == "up")


def test_a_nightfall_ends_in_the_night_and_a_hint_follows_the_caption():
    clip = make_clip(replace(FOX, time="twilight"), "nightfall")
    assert clip.scene.time == "day"
    assert frame(clip, 1.0).tobytes() == draw(replace(clip.scene, time="night")).tobytes()
    text = Clip(FOX, "left").text(random.Random(2))
    assert text.endswith(HINTS["left"])
    assert "fox" in text
