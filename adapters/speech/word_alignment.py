"""Moves the times of words to where the audio shows that the words start.

faster-whisper takes the times of words from Whisper's attention. There, a pause belongs to the word after it, and words
start too early, the more so the longer they seem to be for their letters. Here, pauses are taken out of words, and the
other starts are moved by what was measured, to the nearest change of the sound (docs/measurements/speech.md).
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from adapters.base import Word

RATE = 16_000
HOP, FRAME = 80, 400
"""Samples of a step, 5 ms, and of the audio around it that is looked at."""
STEP_S = HOP / RATE
EDGE_S = 1.0
"""How much audio around a segment is looked at."""
SHORTEST_S = 0.02
"""Of a word."""
AT_ONCE_S = 0.05
"""A word that starts earlier starts with the audio, unless there is silence."""

QUIET_DB = 32.0
"""A step is quiet if it is this far below the loud parts around it."""
FLOOR_DB, NOISE_DB = 6.0, 12.0
"""In noise: at most this much above the quietest parts, and this far below the loud ones."""
PAUSES = ((0.1, 0.1), (0.2, 0.6))
"""Silence that lasts the first number of seconds is the pause at a boundary if it is at most the second away. Shorter
silence is a part of words, as before a "t"."""

EARLY_S, EARLY_PER_S, EARLY_PER_LETTER = 0.057, 0.504, -0.0233
"""By how much words start too early in Whisper's attention: a constant, a part of the duration, and of each letter."""
MAX_EARLY_S, MAX_DURATION_S = 0.25, 0.8
DIGIT_LETTERS = 5
"""Letters of a digit when it is spoken: "1987" has four digits, "nineteen eighty-seven" 19 letters."""
MAX_DIGITS_S = 0.8
"""By how much the word after a number may start later. Numbers have few tokens for their length, so their end is
missed more often; it is then where the number and the word after it are spoken equally fast."""
NEAR_S, REACH_S, LATE_S = 0.03, 0.1, 0.005
"""The standard deviation and the most by which a start is moved to a change of the sound, and how much later than the
strongest change a word starts."""


_NUMBER_PART = re.compile(r"[.,:]?\d")


class Pause(NamedTuple):
    """A stretch of silence, in seconds."""

    start: float
    end: float


class Sound:
    """A stretch of audio: how loud it is, and how much it changes."""

    def __init__(self, audio: Any, start_s: float) -> None:
        """Measures it in steps of 5 ms.

        Args:
            audio: float32 [samples], mono, 16 kHz, -1..1.
            start_s: When it starts in the whole audio.
        """
        self._start_s = start_s
        padded = np.pad(np.asarray(audio, np.float32), FRAME // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
        spectrum = np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), axis=1)))
        around = (FRAME - 3 * HOP) // 2
        self._level = 10 * np.log10(np.square(frames[:, around:-around]).mean(axis=1) + 1e-10)
        edges = np.unique(np.round(np.geomspace(4, 200, 25)).astype(int))
        bands = np.log10(np.add.reduceat(spectrum, edges, axis=1)[:, :-1] / np.diff(edges) + 1e-7)
        self._change = np.zeros(len(frames), np.float32)
        if len(frames) > 4:
            self._change[2:-2] = np.abs(bands[4:] - bands[:-4]).sum(axis=1)

    def pauses(self) -> list[Pause]:
        """Its silent parts, in order."""
        loud, faint = np.quantile(self._level, 0.95), np.quantile(self._level, 0.02)
        quiet = self._level < max(loud - QUIET_DB, min(faint + FLOOR_DB, loud - NOISE_DB))
        edges = np.flatnonzero(np.diff(np.concatenate(([0], quiet.astype(np.int8), [0])))) * STEP_S + self._start_s
        runs = (Pause(float(start), float(end)) for start, end in edges.reshape(-1, 2))
        return [run for run in runs if run.end - run.start >= PAUSES[0][0]]

    def nearest_change(self, time_s: float) -> float:
        """The start of a word that starts at about this time, in seconds: just after the strongest change nearby."""
        at, reach = round((time_s - self._start_s) / STEP_S), round(REACH_S / STEP_S)
        steps = np.arange(max(0, at - reach), min(len(self._change), at + reach + 1))
        if not len(steps):
            return time_s
        weighted = self._change[steps] * np.exp(-0.5 * np.square((steps - at) * STEP_S / NEAR_S))
        return float(steps[weighted.argmax()]) * STEP_S + self._start_s + LATE_S


def refined(words: Sequence[Word], audio: Any, *, after: float = 0.0) -> tuple[Word, ...]:
    """The words with better times.

    Args:
        words: The words of one segment, with faster-whisper's times, in order.
        audio: The whole audio: float32 [samples], mono, 16 kHz, -1..1.
        after: The end of the previous word in seconds; no word starts earlier.

    Returns:
        The words in order, each number as one word: none is empty, overlaps another, or ends after the audio. Only if
        there are more words than milliseconds after `after` do they start earlier.
    """
    if not words:
        return ()
    words = _whole_numbers(words)
    first = round(max(min(words[0].start, len(audio) / RATE) - EDGE_S, after, 0.0) * RATE)
    sound = Sound(audio[first : round((words[-1].end + EDGE_S) * RATE)], first / RATE)
    expected = _expected(words)
    starts, ends = _moved(words, expected, sound)
    for number, pause in _assigned(words, expected, sound.pauses()).items():
        if number < len(words):
            starts[number] = pause.end
        if number:
            ends[number - 1] = pause.start
    return _in_order(words, starts, ends, after, len(audio) / RATE)


def _whole_numbers(words: Sequence[Word]) -> list[Word]:
    """The words with numbers in one piece: faster-whisper makes two words of "3,400"."""
    whole: list[Word] = []
    for word in words:
        before = whole[-1] if whole else None
        if before is not None and before.text[-1:].isdigit() and _NUMBER_PART.match(word.text):
            probability = min(before.probability, word.probability)
            whole[-1] = Word(before.start, word.end, before.text + word.text, probability)
        else:
            whole.append(word)
    return whole


def _expected(words: Sequence[Word]) -> list[float]:
    """When the words start, without the error of Whisper's attention, as far as it is the same for all audio."""
    starts: list[float] = []
    for number, word in enumerate(words):
        duration, letters = min(word.end - word.start, MAX_DURATION_S), _letters(word)
        early = EARLY_S + EARLY_PER_S * duration + EARLY_PER_LETTER * letters
        start = word.start + min(max(early, 0.0), MAX_EARLY_S)
        before = words[number - 1] if number else word
        if number and any(map(str.isdigit, before.text)) and before.end + SHORTEST_S > word.start:
            share = _letters(before) / (_letters(before) + letters)
            start = max(start, min(before.start + share * (word.end - before.start), word.start + MAX_DIGITS_S))
        starts.append(start)
    return starts


def _letters(word: Word) -> int:
    return max(1, sum(DIGIT_LETTERS if one.isdigit() else one.isalpha() for one in word.text))


def _moved(words: Sequence[Word], expected: Sequence[float], sound: Sound) -> tuple[list[float], list[float]]:
    """Starts at changes of the sound, and ends: at the next start, unless there was a gap before it."""
    starts = [
        sound.nearest_change(start) if word.start > AT_ONCE_S else word.start
        for word, start in zip(words, expected, strict=True)
    ]
    ends = [
        following if word.end + SHORTEST_S > later.start else word.end
        for word, later, following in zip(words, words[1:], starts[1:], strict=False)
    ]
    return starts, [*ends, words[-1].end]


def _assigned(words: Sequence[Word], expected: Sequence[float], pauses: Sequence[Pause]) -> dict[int, Pause]:
    """The longest pause at each boundary: number 0 is before the first word, 1 after it, and so on."""
    gaps = [
        (words[0].start, words[0].start),
        *(
            (min(word.end, later.start), start)
            for word, later, start in zip(words, words[1:], expected[1:], strict=False)
        ),
        (words[-1].end, words[-1].end),
    ]
    found: dict[int, Pause] = {}
    for pause in pauses:
        distances = [max(pause.start - last, first - pause.end, 0.0) for first, last in gaps]
        number = distances.index(min(distances))
        lasts = pause.end - pause.start
        if any(lasts >= least and distances[number] <= most for least, most in PAUSES) and (
            number not in found or lasts > found[number].end - found[number].start
        ):
            found[number] = pause
    return found


def _in_order(
    words: Sequence[Word], starts: Sequence[float], ends: Sequence[float], after: float, length_s: float
) -> tuple[Word, ...]:
    """The words with times between `after` and the length of the audio, in whole milliseconds."""
    limit = int(length_s * 1000)
    low = max(0, min(round(after * 1000), limit - len(words)))
    shortest = min(round(SHORTEST_S * 1000), max(1, (limit - low) // len(words)))
    times: list[tuple[int, int]] = []
    for start, end in zip(starts, ends, strict=True):
        begins = max(round(start * 1000), low)
        low = max(round(end * 1000), begins + shortest)
        times.append((begins, low))
    for number in range(len(words) - 1, -1, -1):
        begins, stops = times[number]
        stops = min(stops, limit)
        begins = min(begins, stops - shortest)
        times[number], limit = (begins, stops), begins
    return tuple(
        replace(word, start=begins / 1000, end=stops / 1000) for word, (begins, stops) in zip(words, times, strict=True)
    )
