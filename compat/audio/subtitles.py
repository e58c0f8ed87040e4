"""Subtitles from timed words: SubRip (.srt) and WebVTT (.vtt). Independent of requests.

Formats: https://www.matroska.org/technical/subtitles.html#srt-subtitles and https://www.w3.org/TR/webvtt1/.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from adapters.base import Segment, Word

MAX_WORDS_PER_LINE = 10
"""The default of the interface specification."""

LONG_PAUSE_S = 2.0
"""A silence that ends a cue, so that no line is shown long before it is spoken."""

LATEST_S = 99 * 3600.0
"""Both formats have two digits for the hours."""

_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]»]*$")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]+")


class Cue(NamedTuple):
    """A line of text and the time when it is shown."""

    start_ms: int
    end_ms: int
    """After `start_ms`, and not after the next cue's start."""
    text: str
    """One line, not empty."""


def srt(segments: Sequence[Segment], *, max_words_per_line: int = MAX_WORDS_PER_LINE) -> str:
    """The segments as SubRip, cues numbered from 1. "" for silence."""
    return "".join(
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{cue.text.replace('-->', '→')}\n\n"
        for number, cue in enumerate(cues(segments, max_words_per_line), 1)
    )


def vtt(segments: Sequence[Segment], *, max_words_per_line: int = MAX_WORDS_PER_LINE) -> str:
    """The segments as WebVTT."""
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{_escaped(cue.text)}\n\n"
        for cue in cues(segments, max_words_per_line)
    )


def cues(segments: Sequence[Segment], max_words: int) -> list[Cue]:
    """Lines of at most `max_words` words, in order of time and never overlapping.

    Lines end where sentences do if that leaves room for the next sentence's words; a sentence too long for one line is
    spread evenly over several.

    Args:
        segments: With words; segments without words get them from the text, timed by its letters.
        max_words: At least 1.
    """
    lines = [line for segment in segments for line in _lines(_words(segment), max_words) if _text(line)]
    starts: list[int] = []
    for line in lines:
        starts.append(max(_ms(line[0].start), starts[-1] + 1 if starts else 0))
    ends = [max(_ms(line[-1].end), start + 1) for line, start in zip(lines, starts, strict=True)]
    ends = [*(min(end, following) for end, following in zip(ends, starts[1:], strict=False)), *ends[-1:]]
    return [Cue(start, end, _text(line)) for line, start, end in zip(lines, starts, ends, strict=True)]


def _lines(words: Sequence[Word], max_words: int) -> Iterator[list[Word]]:
    line: list[Word] = []
    for sentence in _sentences(words):
        pause = bool(line) and sentence[0].start - line[-1].end > LONG_PAUSE_S
        if line and (pause or len(line) + len(sentence) > max_words):
            yield line
            line = []
        *full, rest = _spread(sentence, max_words)
        yield from full
        line = [*line, *rest] if not full else rest
        if full:  # The end of a sentence that filled several lines takes no other sentence in.
            yield line
            line = []
    if line:
        yield line


def _sentences(words: Iterable[Word]) -> Iterator[list[Word]]:
    sentence: list[Word] = []
    for word in words:
        if sentence and word.start - sentence[-1].end > LONG_PAUSE_S:
            yield sentence
            sentence = []
        sentence.append(word)
        if _SENTENCE_END.search(word.text.rstrip()):
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _spread(words: list[Word], max_words: int) -> list[list[Word]]:
    """The words in the fewest lines possible, all of about the same length."""
    count = -(-len(words) // max_words)
    bounds = [len(words) * number // count for number in range(count + 1)]
    return [words[start:end] for start, end in pairwise(bounds)]


def _words(segment: Segment) -> tuple[Word, ...]:
    """The segment's words, or its text cut at spaces, each part timed as if all letters took equally long."""
    if segment.words or not segment.text.strip():
        return segment.words
    length, duration = len(segment.text), segment.end - segment.start
    return tuple(
        Word(
            segment.start + duration * match.start() / length,
            segment.start + duration * match.end() / length,
            f" {match.group()}",
            1.0,
        )
        for match in re.finditer(r"\S+", segment.text)
    )


def _text(words: Iterable[Word]) -> str:
    """One line: words include their spaces; line breaks and control characters become spaces."""
    return " ".join(_UNPRINTABLE.sub(" ", "".join(word.text for word in words)).split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _ms(seconds: float) -> int:
    return round(min(max(seconds, 0.0), LATEST_S) * 1000) if math.isfinite(seconds) else 0


def _clock(milliseconds: int, point: str) -> str:
    """HH:MM:SS and milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"
