"""Limits the decoded audio in memory, over all requests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Lock
from typing import Any


class AudioBudget:
    """Delays the decoding of further audio while a number of samples is in memory.

    Audio is decoded one file at a time, so memory holds at most the limit plus one file, however many requests there
    are.
    """

    def __init__(self, samples: float) -> None:
        """A budget of this many samples."""
        self._limit = samples
        self._reserved = 0
        self._decoding = Lock()
        self._released = Condition()

    @contextmanager
    def reserve(self, decode: Callable[[], Any]) -> Iterator[Any]:
        """The decoded audio, once the budget allows; it counts until the context ends."""
        with self._decoding:
            with self._released:
                self._released.wait_for(lambda: self._reserved < self._limit)
            audio = decode()
            with self._released:
                self._reserved += len(audio)
        try:
            yield audio
        finally:
            with self._released:
                self._reserved -= len(audio)
                self._released.notify_all()
