"""Words' times, brought to where the sound says they are.

Whisper's attention tells which word is said, but a word's end is only where the next one begins: pauses belong to one
of the two, and both are off by a tenth of a second or so. The sound's own level knows better where there is a pause.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from adapters.base import Word

RATE = 16_000
HOP = 80
"""Samples of a step: 5 ms."""
QUIET_DB = 32.0
"""Below the loud parts of the words around it, a step is quiet."""
FLOOR_DB = 6.0
"""Above the faintest parts of the sound, a step may still be noise."""
PAUSE_S = 0.03
"""Shorter quiet is a part of a word."""
REACH_S = 0.35
"""How far from Whisper's own time a pause may begin or end to be taken for the one that it means."""
EDGE_S = 0.25
"""How far outside of a word that stands alone its sound is looked for."""


class Pause(NamedTuple):
    """A stretch of quiet; seconds."""

    start: float
    end: float


class Envelope:
    """The level of a sound, in steps of 5 ms."""

    def __init__(self, sound: Any) -> None:
        """Measures it.

        Args:
            sound: float32 [samples], mono, 16 kHz, -1..1.
        """
        steps = len(sound) // HOP
        power = np.square(np.asarray(sound[: steps * HOP], np.float32)).reshape(steps, HOP).mean(axis=1)
        around = np.convolve(power, np.full(3, 1 / 3, np.float32), "same") if steps >= 3 else power
        self._level = 10 * np.log10(around + 1e-10)
        self._seconds = HOP / RATE

    def pauses(self, start: float, end: float) -> list[Pause]:
        """Quiet stretches between two times, in order; quiet beside the loudest that is heard between them."""
        first = max(0, round(start / self._seconds))
        level = self._level[first : round(end / self._seconds)]
        if not len(level):
            return []
        loud, faint = float(np.quantile(level, 0.95)), float(np.quantile(level, 0.02))
        quiet = level < max(loud - QUIET_DB, min(faint + FLOOR_DB, loud - 12.0))
        edges = np.flatnonzero(np.diff(np.concatenate(([0], quiet.astype(np.int8), [0]))))
        runs = [
            Pause(float(first + a) * self._seconds, float(first + b) * self._seconds) for a, b in edges.reshape(-1, 2)
        ]
        return [run for run in runs if run.end - run.start >= PAUSE_S]


def refined(words: Sequence[Word], envelope: Envelope, *, after: float = 0.0) -> tuple[Word, ...]:
    """The words with times that leave pauses out.

    Args:
        words: Of one segment, in order of time.
        envelope: Of the sound in which they are said.
        after: Where the word before them ends; none starts earlier.

    Returns:
        As many words, in order, never overlapping.
    """
    if not words:
        return ()
    starts, ends = [word.start for word in words], [word.end for word in words]
    pauses = envelope.pauses(min(starts) - EDGE_S, max(ends) + EDGE_S)
    _first(starts, ends, pauses, after)
    for left in range(len(words) - 1):
        boundary = (ends[left] + starts[left + 1]) / 2
        low = (words[left].start + words[left].end) / 2
        high = (words[left + 1].start + words[left + 1].end) / 2
        if pause := _nearest(pauses, boundary, low, high):
            ends[left], starts[left + 1] = pause.start, pause.end
    _last(starts, ends, pauses)
    return tuple(_ordered(words, starts, ends, after))


def _nearest(pauses: Sequence[Pause], at: float, low: float, high: float) -> Pause | None:
    """The pause that a boundary means: near it, between the middles of its words; long ones pull more."""

    def cost(pause: Pause) -> float:
        away = max(pause.start - at, at - pause.end, 0.0)
        return away - (pause.end - pause.start)

    near = [one for one in pauses if one.end > low and one.start < high and one.start - at < REACH_S > at - one.end]
    best = min(near, key=cost, default=None)
    return Pause(max(best.start, low), min(best.end, high)) if best else None


def _first(starts: list[float], ends: list[float], pauses: Sequence[Pause], after: float) -> None:
    """A first word starts where the pause before it ends."""
    middle = (starts[0] + ends[0]) / 2
    before = [one for one in pauses if one.start <= starts[0] + REACH_S and one.end <= max(middle, starts[0] + 0.01)]
    if before and before[-1].end >= starts[0] - EDGE_S:
        starts[0] = max(before[-1].end, after)


def _last(starts: list[float], ends: list[float], pauses: Sequence[Pause]) -> None:
    """A last word ends where the pause behind it begins."""
    middle = (starts[-1] + ends[-1]) / 2
    behind = [one for one in pauses if one.end >= ends[-1] - REACH_S and one.start >= middle]
    if behind and behind[0].start <= ends[-1] + EDGE_S:
        ends[-1] = behind[0].start


def _ordered(words: Sequence[Word], starts: list[float], ends: list[float], after: float) -> list[Word]:
    ordered: list[Word] = []
    for word, start, end in zip(words, starts, ends, strict=True):
        first = max(start, after)
        after = max(end, first)
        ordered.append(replace(word, start=round(first, 3), end=round(after, 3)))
    return ordered
