"""How much decoded sound a model keeps in memory at a time, whoever sent it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Lock
from typing import Any


class Room:
    """What is kept of sounds in memory: while so many seconds are held, no other sound is decoded.

    One is decoded at a time, so at most twice as much is held, however many requests there are.
    """

    def __init__(self, samples: float) -> None:
        """Room for so many samples, and one sound beyond them."""
        self._most = samples
        self._held = 0
        self._turn = Lock()
        self._freed = Condition()

    @contextmanager
    def holding(self, decode: Callable[[], Any]) -> Iterator[Any]:
        """The decoded sound, once there is room for it."""
        with self._turn:
            with self._freed:
                self._freed.wait_for(lambda: self._held < self._most)
            sound = decode()
            with self._freed:
                self._held += len(sound)
        try:
            yield sound
        finally:
            with self._freed:
                self._held -= len(sound)
                self._freed.notify_all()
