"""Refines words' times by the level of the audio.

In Whisper's attention, a word ends where the next one starts: a pause belongs to one of the two, and both times are
off by about a tenth of a second. The level of the audio shows more precisely where the pauses are.
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
"""A step is quiet if it is this far below the loud parts around it."""
FLOOR_DB = 6.0
"""A step may be noise if it is at most this far above the quietest parts."""
PAUSE_S = 0.03
"""Shorter silence is part of a word."""
EDGE_S = 1.0
"""Range outside of a segment in which its first and last pause are searched."""
MISSED_BOUNDARY = 0.9
"""Cost of a boundary without a pause; all costs have the same unit."""
MISSED_PAUSE = 1.0
"""Cost per second of a pause inside a word, since stops like "t" contain short silence."""
AWAY = 0.5
"""Cost per second between a pause and Whisper's boundary."""
UNLIKE = 0.5
"""Cost of a word that takes e times as long as its number of letters predicts, or an e-th of that."""
SPARE_LETTERS = 3
"""Added to the letters of each word: short words take longer than their letters predict."""
WORDS_BETWEEN, PAUSES_BETWEEN = 1, 5
"""Maximum number of boundaries without a pause, and of pauses within words, between two matched ones."""


class Pause(NamedTuple):
    """A stretch of silence, in seconds."""

    start: float
    end: float


class Envelope:
    """The level of audio in steps of 5 ms."""

    def __init__(self, audio: Any) -> None:
        """Measures the level.

        Args:
            audio: float32 [samples], mono, 16 kHz, -1..1.
        """
        steps = len(audio) // HOP
        power = np.square(np.asarray(audio[: steps * HOP], np.float32)).reshape(steps, HOP).mean(axis=1)
        around = np.convolve(power, np.full(3, 1 / 3, np.float32), "same") if steps >= 3 else power
        self._level = 10 * np.log10(around + 1e-10)
        self._seconds = HOP / RATE

    def pauses(self, start: float, end: float) -> list[Pause]:
        """Quiet stretches between two times, in order, relative to the loudest level between them."""
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
    """The words with times that exclude pauses.

    Args:
        words: The words of one segment, in order of time.
        envelope: The level of the audio.
        after: The end of the previous word; no word starts earlier.

    Returns:
        The same words in order, not overlapping.
    """
    if not words:
        return ()
    boundaries = [words[0].start, *((one.end + other.start) / 2 for one, other in pairwise(words)), words[-1].end]
    pauses = envelope.pauses(max(boundaries[0] - EDGE_S, after), boundaries[-1] + EDGE_S)
    matched = _match_pauses(boundaries, pauses, _expected(words, pauses))
    ends = [pause.start if pause else time for time, pause in zip(boundaries, matched, strict=True)]
    starts = [pause.end if pause else time for time, pause in zip(boundaries, matched, strict=True)]
    _keep_apart(starts, ends, matched)
    return tuple(_ordered(words, starts[:-1], ends[1:], after))


def _expected(words: Sequence[Word], pauses: Sequence[Pause]) -> list[float]:
    """Seconds from the first word's start to each boundary, for speech at constant speed without pauses."""
    first, last = words[0].start, words[-1].end
    quiet = sum(max(0.0, min(pause.end, last) - max(pause.start, first)) for pause in pauses)
    sizes = [sum(map(str.isalpha, word.text)) + SPARE_LETTERS for word in words]
    pace = max(last - first - quiet, 0.2) / sum(sizes)
    return [0.0, *(pace * size for size in accumulate(sizes))]


def _match_pauses(
    boundaries: Sequence[float], pauses: Sequence[Pause], expected: Sequence[float]
) -> list[Pause | None]:
    """Matches boundaries with pauses, in order and at minimum cost; None: no pause.

    Whisper's boundaries are off by up to a quarter of a second, and pauses may be closer together than that; then the
    expected duration of a word decides. The minimum is found row by row over the boundaries (Viterbi): for each pause,
    the lowest cost of matching it with this boundary, and the previous boundary and pause of that solution.
    """
    skipped = [0.0, *accumulate(MISSED_PAUSE * (pause.end - pause.start) for pause in pauses)]
    costs: list[list[float]] = []
    before: list[list[tuple[int, int] | None]] = []
    for number, at in enumerate(boundaries):
        costs.append([])
        before.append([])
        for index, pause in enumerate(pauses):
            # Pauses before the first matched boundary cost nothing; neither do those after the last.
            least, chosen = MISSED_BOUNDARY * number, None
            for earlier in range(max(0, number - 1 - WORDS_BETWEEN), number):
                expected_s = expected[number] - expected[earlier]
                left = MISSED_BOUNDARY * (number - earlier - 1)
                for other in range(max(0, index - 1 - PAUSES_BETWEEN), index):
                    cost = costs[earlier][other] + left + skipped[index] - skipped[other + 1]
                    if cost < least:
                        cost += UNLIKE * abs(math.log(max(pause.start - pauses[other].end, 0.01) / expected_s))
                    if cost < least:
                        least, chosen = cost, (earlier, other)
            costs[-1].append(least + AWAY * _distance(at, pause))
            before[-1].append(chosen)
    return _traced(costs, before, pauses)


def _traced(
    costs: Sequence[Sequence[float]], before: Sequence[Sequence[tuple[int, int] | None]], pauses: Sequence[Pause]
) -> list[Pause | None]:
    """The matches on the path of minimum cost."""
    count = len(costs)
    least, at = MISSED_BOUNDARY * count, None
    for number, row in enumerate(costs):
        for index, cost in enumerate(row):
            if (whole := cost + MISSED_BOUNDARY * (count - 1 - number)) < least:
                least, at = whole, (number, index)
    matched: list[Pause | None] = [None] * count
    while at is not None:
        number, index = at
        matched[number] = pauses[index]
        at = before[number][index]
    return matched


def _distance(at: float, pause: Pause) -> float:
    return max(pause.start - at, at - pause.end, 0.0)


def _keep_apart(starts: list[float], ends: list[float], matched: Sequence[Pause | None]) -> None:
    """Moves boundaries without a pause between their matched neighbours, evenly spaced, unless they are there."""
    fixed = [number for number, pause in enumerate(matched) if pause is not None]
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
