"""Segments on their way out: faster-whisper's as ours, those of chunks in their order and at their times."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

from adapters.base import Segment, Word

CHUNKS_AHEAD = 8
"""Chunks of one sound that are written down side by side."""


def numbered(segments: Iterable[Segment]) -> Iterator[Segment]:
    """The segments, counted from 0."""
    return (replace(segment, id=number) for number, segment in enumerate(segments))


def ahead(
    threads: ThreadPoolExecutor,
    work: Callable[[tuple[int, int]], list[Segment]],
    spans: Iterable[tuple[int, int]],
    stop: Event,
) -> Iterator[Segment]:
    """The segments of all spans, in order, a few spans being worked on at a time."""
    waiting: deque[Future[list[Segment]]] = deque()
    try:
        for span in spans:
            waiting.append(threads.submit(work, span))
            if len(waiting) == CHUNKS_AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        if waiting:
            stop.set()
        for future in waiting:
            future.cancel()


def later(segment: Segment, seconds: float) -> Segment:
    """The segment of a chunk that starts so late."""
    words = tuple(
        replace(word, start=round(word.start + seconds, 3), end=round(word.end + seconds, 3)) for word in segment.words
    )
    return replace(segment, start=round(segment.start + seconds, 3), end=round(segment.end + seconds, 3), words=words)


def ours(segment: Any) -> Segment:
    """faster-whisper's segment (numpy scalars) as ours, not numbered yet."""
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
