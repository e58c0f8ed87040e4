"""Converts and orders segments of faster-whisper and of chunks."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

from adapters.base import Segment, Word

MAX_PARALLEL_CHUNKS = 8
"""Maximum number of chunks of one request that are transcribed at the same time."""


def numbered(segments: Iterable[Segment]) -> Iterator[Segment]:
    """The segments with ids from 0."""
    return (replace(segment, id=number) for number, segment in enumerate(segments))


def transcribe_spans(
    threads: ThreadPoolExecutor,
    work: Callable[[tuple[int, int]], list[Segment]],
    spans: Iterable[tuple[int, int]],
    stop: Event,
) -> Iterator[Segment]:
    """The segments of all spans in order; several spans are transcribed at the same time."""
    waiting: deque[Future[list[Segment]]] = deque()
    try:
        for span in spans:
            waiting.append(threads.submit(work, span))
            if len(waiting) == MAX_PARALLEL_CHUNKS:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        if waiting:
            stop.set()
        for future in waiting:
            future.cancel()


def shifted(segment: Segment, seconds: float) -> Segment:
    """The segment with all times moved by `seconds`, the start of its chunk."""
    words = tuple(
        replace(word, start=round(word.start + seconds, 3), end=round(word.end + seconds, 3)) for word in segment.words
    )
    return replace(segment, start=round(segment.start + seconds, 3), end=round(segment.end + seconds, 3), words=words)


def within(segment: Segment, length_s: float) -> Segment:
    """The segment with times inside the audio: Whisper rounds them up to a window, or to 20 ms."""
    end = min(segment.end, length_s)
    return replace(segment, start=min(segment.start, max(0.0, end - 0.001)), end=end)


def converted(segment: Any) -> Segment:
    """A segment of faster-whisper (with numpy scalars) as `Segment`, with id 0."""
    return Segment(
        id=0,
        start=float(segment.start),
        end=float(segment.end),
        text=segment.text,
        tokens=tuple(int(token) for token in segment.tokens),
        temperature=float(segment.temperature or 0.0),
        avg_logprob=float(segment.avg_logprob),
        compression_ratio=float(segment.compression_ratio),
        no_speech_prob=float(segment.no_speech_prob),
        words=tuple(
            Word(float(word.start), float(word.end), word.word, float(word.probability)) for word in segment.words or ()
        ),
    )
