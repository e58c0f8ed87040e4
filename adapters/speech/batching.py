"""Batches calls to one Whisper network from several requests.

Every request runs faster-whisper's own algorithm (windows, fallback temperatures, word times) in a thread of its own;
only its calls to the network are batched here. So a request's result does not depend on other requests, while their
windows share the cost of reading the weights. A batch starts once every active request waits for the network, or
`MAX_WAIT_S` after its first call.
"""

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from adapters.errors import Interrupted

MAX_WAIT_S = 0.02
"""Seconds that a call waits for active requests that do not wait for the network."""

Run = Callable[[Sequence[Any]], Sequence[Any]]
"""Computes the results of several calls with the same key, in order."""


@dataclass(slots=True, eq=False)
class _Call:
    """A call, and the future of its result."""

    key: Hashable
    run: Run
    item: Any
    result: Future[Any] = field(default_factory=Future[Any])
    arrived_s: float = field(default_factory=time.monotonic)


class Batcher:
    """The single thread in which a network computes."""

    def __init__(self, *, max_batch: int) -> None:
        """Starts the thread.

        Args:
            max_batch: Maximum number of calls in a batch.
        """
        self._max_batch = max_batch
        self._changed = Condition()
        self._calls: list[_Call] = []
        self._active = 0
        self._closed = False
        self.batches: dict[int, int] = {}
        """Number of batches so far, by size."""
        self._thread = Thread(target=self._work, name="speech-batches", daemon=True)
        self._thread.start()

    @contextmanager
    def active_request(self) -> Iterator[None]:
        """Marks a request as active: batches wait for its next call, but at most `MAX_WAIT_S`."""
        with self._changed:
            self._active += 1
        try:
            yield
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def call(self, key: Hashable, run: Run, item: Any) -> Any:
        """The result for one item, computed in a batch with others of the same key. Blocks.

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
        """Ends all waiting calls with `Interrupted`, and waits for the running batch."""
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
        """The next batch: the oldest call and those with the same key. Empty after `close`."""
        with self._changed:
            while not self._closed:
                if not self._calls:
                    self._changed.wait()
                    continue
                oldest = self._calls[0]
                batch = [call for call in self._calls if call.key == oldest.key][: self._max_batch]
                wait_s = oldest.arrived_s + MAX_WAIT_S - time.monotonic()
                if len(batch) < self._max_batch and len(self._calls) < self._active and wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                self._calls = [call for call in self._calls if call not in batch]
                return batch
        return []


def _compute(batch: Sequence[_Call]) -> None:
    """Sets the result of every call. If a batch fails, its calls run one by one, so that only the faulty one fails."""
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
