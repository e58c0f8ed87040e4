"""Words' times, brought to where the sound says they are.

Whisper's attention tells which word is said, but a word's end is only where the next one begins: pauses belong to one
of the two, and both are off by a tenth of a second or so. The sound's own level knows better where there is a pause.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
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
EDGE_S = 1.0
"""How far outside of a segment its first and last pause are looked for."""
MISSED_BOUNDARY = 0.3
"""Seconds: what it costs to leave a boundary without a pause."""
MISSED_PAUSE = 2.0
"""Seconds for each second of a pause: what it costs to leave it inside of a word. A stop like "t" has some, too."""


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
    boundaries = [words[0].start, *((one.end + other.start) / 2 for one, other in pairwise(words)), words[-1].end]
    pauses = envelope.pauses(max(boundaries[0] - EDGE_S, after), boundaries[-1] + EDGE_S)
    meant = _meant(boundaries, pauses)
    ends = [pause.start if pause else time for time, pause in zip(boundaries, meant, strict=True)]
    starts = [pause.end if pause else time for time, pause in zip(boundaries, meant, strict=True)]
    _keep_apart(starts, ends, meant)
    return tuple(_ordered(words, starts[:-1], ends[1:], after))


def _meant(boundaries: Sequence[float], pauses: Sequence[Pause]) -> list[Pause | None]:
    """The pause that each boundary stands for, if any: in order, each pause for one boundary, at the least cost.

    A boundary costs its distance to its pause. The best choice is found as an edit distance is: row by row over the
    boundaries, with what each prefix of the pauses costs at least.
    """
    rows, skipped = [[0.0] * (len(pauses) + 1)], [0.0]
    for pause in pauses:
        skipped.append(skipped[-1] + MISSED_PAUSE * (pause.end - pause.start))
    for number, at in enumerate(boundaries):
        above, row = rows[-1], [rows[-1][0] + MISSED_BOUNDARY]
        for index, pause in enumerate(pauses):
            # Pauses after the last word cost nothing; neither do those before the first (the row above all others).
            left = row[index] + (skipped[index + 1] - skipped[index] if number < len(boundaries) - 1 else 0.0)
            row.append(min(left, above[index + 1] + MISSED_BOUNDARY, above[index] + _distance(at, pause)))
        rows.append(row)
    return _traced(boundaries, pauses, rows)


def _traced(boundaries: Sequence[float], pauses: Sequence[Pause], rows: list[list[float]]) -> list[Pause | None]:
    """The choices that led to the last cost."""
    meant: list[Pause | None] = [None] * len(boundaries)
    number, index = len(boundaries), len(pauses)
    while number and index:
        cost = rows[number][index]
        if cost == rows[number - 1][index - 1] + _distance(boundaries[number - 1], pauses[index - 1]):
            number, index = number - 1, index - 1
            meant[number] = pauses[index]
        elif cost == rows[number - 1][index] + MISSED_BOUNDARY:
            number -= 1
        else:
            index -= 1
    return meant


def _distance(at: float, pause: Pause) -> float:
    return max(pause.start - at, at - pause.end, 0.0)


def _keep_apart(starts: list[float], ends: list[float], meant: Sequence[Pause | None]) -> None:
    """Boundaries without a pause stay between those that have one; where they cannot, they share the time evenly."""
    fixed = [number for number, pause in enumerate(meant) if pause is not None]
    for first, last in pairwise(fixed):
        free = range(first + 1, last)
        low, high = starts[first], ends[last]
        if any(not low < starts[number] < high for number in free):
            for number in free:
                starts[number] = ends[number] = low + (high - low) * (number - first) / (last - first)


def _ordered(words: Sequence[Word], starts: list[float], ends: list[float], after: float) -> list[Word]:
    ordered: list[Word] = []
    for word, start, end in zip(words, starts, ends, strict=True):
        first = max(start, after)
        after = max(end, first)
        ordered.append(replace(word, start=round(first, 3), end=round(after, 3)))
    return ordered
