"""The starter's world: what a scene can be, and which scenes no model is trained on.

A scene is five attributes that captions name (a setting, a subject, its colour, a time of day, a weather) and jitter
that they do not (place, size, what stands where). `starter.drawing` draws it, `starter.captions` tells it,
`starter.clips` moves it. Nothing here draws or learns.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "setting": ("forest", "desert", "city", "sea", "mountains", "meadow"),
    "subject": ("fox", "owl", "boat", "house", "robot", "balloon", "car", "rocket"),
    "colour": ("red", "yellow", "green", "blue", "purple", "white"),
    "time": ("day", "twilight", "night"),
    "weather": ("clear", "fog", "rain", "snow"),
}
"""The world's vocabulary: 3,456 combinations."""

SIZE = 128
"""Pixels a side of every image."""
HOLDOUT = 10
"""One combination in this many is held out of every training and kept for `make starter-eval`."""


@dataclass(frozen=True)
class Scene:
    """One image, before it is drawn."""

    setting: str
    """One of `ATTRIBUTES["setting"]`; the next four likewise."""
    subject: str
    colour: str
    time: str
    weather: str
    x: float = 0.0
    """Where the subject's middle stands, in pixels right of the middle of the image; -24..24 when drawn by chance."""
    y: float = 0.0
    """How far below its usual place the subject stands, in pixels; -5..4 when drawn by chance."""
    scale: float = 1.0
    """The subject's size; 0.85..1.15 when drawn by chance."""
    layout: int = 0
    """Seeds where trees, waves, drops and the like stand."""

    def values(self) -> tuple[str, ...]:
        """The five attributes, in the order of `ATTRIBUTES`."""
        return tuple(str(getattr(self, name)) for name in ATTRIBUTES)


def combinations() -> Iterator[tuple[str, ...]]:
    """All combinations of attributes, in a fixed order."""
    return product(*ATTRIBUTES.values())


def held_out(values: tuple[str, ...]) -> bool:
    """Whether a combination is kept from training. A hash decides: the same on every machine, whatever the order."""
    digest = hashlib.sha256(" ".join(values).encode()).digest()
    return int.from_bytes(digest[:4], "big") % HOLDOUT == 0


@cache
def split(held: bool) -> tuple[tuple[str, ...], ...]:
    """The combinations to train on, or those that are held out."""
    return tuple(values for values in combinations() if held_out(values) is held)


def jittered(values: tuple[str, ...], rng: random.Random) -> Scene:
    """A scene of these attributes, its place, size and layout by chance."""
    setting, subject, colour, time, weather = values
    return Scene(
        setting=setting,
        subject=subject,
        colour=colour,
        time=time,
        weather=weather,
        x=rng.uniform(-24, 24),
        y=rng.uniform(-5, 4),
        scale=rng.uniform(0.85, 1.15),
        layout=rng.randrange(2**32),
    )


def scenes(held: bool, seed: int) -> Iterator[Scene]:
    """Scenes without end, of one side of the split, every combination once before any comes twice."""
    rng = random.Random(seed)  # noqa: S311
    pool = list(split(held))
    while True:
        rng.shuffle(pool)
        for values in pool:
            yield jittered(values, rng)
