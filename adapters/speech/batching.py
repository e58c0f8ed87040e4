"""Calls to one Whisper network, from many requests at once: those that are alike are computed together.

Every request runs faster-whisper's own algorithm in a thread of its own (windows, fallback temperatures, word times),
and only its calls to the network come here. So what a request gets does not depend on its company, but its windows
share the price of reading the weights with all others. Nothing waits for long: a batch is what has come once every
request that is being worked on waits for the network, or `LINGER_S` after the first call of the batch.
"""

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from adapters.errors import Interrupted

LINGER_S = 0.02
"""How long a call waits for company from requests that compute something else meanwhile."""

Run = Callable[[Sequence[Any]], Sequence[Any]]
"""Computes the results of several calls that have the same key, in order."""


@dataclass(slots=True, eq=False)
class _Call:
    """One call, and where its result goes."""

    key: Hashable
    run: Run
    item: Any
    result: Future[Any] = field(default_factory=Future[Any])
    arrived_s: float = field(default_factory=time.monotonic)


class Batcher:
    """The one thread in which a network computes."""

    def __init__(self, *, max_batch: int) -> None:
        """Starts the thread.

        Args:
            max_batch: Calls that are computed together at most.
        """
        self._max_batch = max_batch
        self._changed = Condition()
        self._calls: list[_Call] = []
        self._guests = 0
        self._closed = False
        self.batches: dict[int, int] = {}
        """How many batches of each size there were."""
        self._thread = Thread(target=self._work, name="speech-batches", daemon=True)
        self._thread.start()

    @contextmanager
    def guest(self) -> Iterator[None]:
        """While it lasts, batches wait for the caller's next call, though not longer than `LINGER_S`."""
        with self._changed:
            self._guests += 1
        try:
            yield
        finally:
            with self._changed:
                self._guests -= 1
                self._changed.notify_all()

    def call(self, key: Hashable, run: Run, item: Any) -> Any:
        """The result for one item, computed together with others that have the same key. Blocks.

        Raises:
            Interrupted: The model was unloaded.
            Exception: What `run` raises for this item.
        """
        call = _Call(key, run, item)
        with self._changed:
            if self._closed:
                raise Interrupted("The model was unloaded.")
            self._calls.append(call)
            self._changed.notify_all()
        return call.result.result()

    def close(self) -> None:
        """Ends all calls that wait in `Interrupted`, and waits for the batch that is being computed."""
        with self._changed:
            self._closed = True
            for call in self._calls:
                call.result.set_exception(Interrupted("The model was unloaded."))
            self._calls.clear()
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            self.batches[len(batch)] = self.batches.get(len(batch), 0) + 1
            _compute(batch)

    def _next(self) -> list[_Call]:
        """The next batch: the oldest call and those like it. Empty when there will be none."""
        with self._changed:
            while not self._closed:
                if not self._calls:
                    self._changed.wait()
                    continue
                oldest = self._calls[0]
                alike = [call for call in self._calls if call.key == oldest.key][: self._max_batch]
                wait_s = oldest.arrived_s + LINGER_S - time.monotonic()
                if len(alike) < self._max_batch and len(self._calls) < self._guests and wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                self._calls = [call for call in self._calls if call not in alike]
                return alike
        return []


def _compute(batch: Sequence[_Call]) -> None:
    """Gives every call its result. Where a batch fails, each is tried alone: who is to blame fails alone."""
    try:
        results = batch[0].run([call.item for call in batch])
    except Exception as error:
        if len(batch) == 1:
            batch[0].result.set_exception(error)
        else:
            for call in batch:
                _compute([call])
        return
    for call, result in zip(batch, results, strict=True):
        call.result.set_result(result)
