"""Words' times, brought to where the sound says they are.

Whisper's attention tells which word is said, but a word's end is only where the next one begins: pauses belong to one
of the two, and both are off by a tenth of a second or so. The sound's own level knows better where there is a pause.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
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
MISSED_BOUNDARY = 0.9
"""What it costs to leave a boundary without a pause, in the unit of all costs here."""
MISSED_PAUSE = 1.0
"""For each second of a pause: what it costs to leave it inside of a word. A stop like "t" has some, too."""
AWAY = 0.5
"""For each second: what it costs that a pause is not where Whisper has the boundary."""
UNLIKE = 0.5
"""What it costs that a word takes e times as long, or an e-th, as its letters let expect."""
SPARE_LETTERS = 3
"""Counted with those of each word: short words take longer than their letters say."""
WORDS_BETWEEN, PAUSES_BETWEEN = 1, 5
"""At most so many boundaries without a pause, and pauses within words, between two that belong together."""


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
    meant = _meant(boundaries, pauses, _expected(words, pauses))
    ends = [pause.start if pause else time for time, pause in zip(boundaries, meant, strict=True)]
    starts = [pause.end if pause else time for time, pause in zip(boundaries, meant, strict=True)]
    _keep_apart(starts, ends, meant)
    return tuple(_ordered(words, starts[:-1], ends[1:], after))


def _expected(words: Sequence[Word], pauses: Sequence[Pause]) -> list[float]:
    """Seconds from the first word's start until each boundary, if speech were even and had no pauses."""
    first, last = words[0].start, words[-1].end
    quiet = sum(max(0.0, min(pause.end, last) - max(pause.start, first)) for pause in pauses)
    sizes = [sum(map(str.isalpha, word.text)) + SPARE_LETTERS for word in words]
    pace = max(last - first - quiet, 0.2) / sum(sizes)
    return [0.0, *(pace * size for size in accumulate(sizes))]


def _meant(boundaries: Sequence[float], pauses: Sequence[Pause], expected: Sequence[float]) -> list[Pause | None]:
    """The pause that each boundary stands for, if any: in order, each pause for one boundary, at the least cost.

    Whisper is a quarter of a second off, and pauses may be nearer to each other than that: then how long a word takes
    tells more. The best choice is found row by row over the boundaries (Viterbi): for each pause, what it costs at
    least that it is this boundary's, and which boundary and pause come before these two.
    """
    skipped = [0.0, *accumulate(MISSED_PAUSE * (pause.end - pause.start) for pause in pauses)]
    costs: list[list[float]] = []
    before: list[list[tuple[int, int] | None]] = []
    for number, at in enumerate(boundaries):
        costs.append([])
        before.append([])
        for index, pause in enumerate(pauses):
            # Pauses before the first boundary that has one cost nothing; neither do those after the last.
            least, chosen = MISSED_BOUNDARY * number, None
            for earlier in range(max(0, number - 1 - WORDS_BETWEEN), number):
                meant_s = expected[number] - expected[earlier]
                left = MISSED_BOUNDARY * (number - earlier - 1)
                for other in range(max(0, index - 1 - PAUSES_BETWEEN), index):
                    cost = costs[earlier][other] + left + skipped[index] - skipped[other + 1]
                    if cost < least:
                        cost += UNLIKE * abs(math.log(max(pause.start - pauses[other].end, 0.01) / meant_s))
                    if cost < least:
                        least, chosen = cost, (earlier, other)
            costs[-1].append(least + AWAY * _distance(at, pause))
            before[-1].append(chosen)
    return _traced(costs, before, pauses)


def _traced(
    costs: Sequence[Sequence[float]], before: Sequence[Sequence[tuple[int, int] | None]], pauses: Sequence[Pause]
) -> list[Pause | None]:
    """The choices that lead to the least cost of all."""
    count = len(costs)
    least, at = MISSED_BOUNDARY * count, None
    for number, row in enumerate(costs):
        for index, cost in enumerate(row):
            if (whole := cost + MISSED_BOUNDARY * (count - 1 - number)) < least:
                least, at = whole, (number, index)
    meant: list[Pause | None] = [None] * count
    while at is not None:
        number, index = at
        meant[number] = pauses[index]
        at = before[number][index]
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
