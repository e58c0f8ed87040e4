"""Calls that are put together: who shares a batch, who waits for whom, and who is to blame when one fails."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from adapters.errors import Interrupted
from adapters.speech import batching
from adapters.speech.batching import Batcher


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    made = Batcher(max_batch=4)
    yield made
    made.close()


def doubled(items: Sequence[Any]) -> list[Any]:
    return [item * 2 for item in items]


def at_once(batcher: Batcher, calls: list[tuple[str, Any]], run: Any = doubled) -> list[Any]:
    """The calls, each from a thread of its own, all of them guests before the first calls."""
    ready = threading.Barrier(len(calls))

    def one(key: str, item: Any) -> Any:
        with batcher.active_request():
            ready.wait()
            return batcher.call(key, run, item)

    with ThreadPoolExecutor(len(calls)) as threads:
        futures = [threads.submit(one, key, item) for key, item in calls]
        return [future.exception() or future.result() for future in futures]


def test_what_is_alike_is_computed_together_and_everyone_gets_their_own(
    batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "MAX_WAIT_S", 30.0)  # who waits, waits for company and not for the clock
    assert at_once(batcher, [("a", n) for n in range(4)]) == [0, 2, 4, 6]
    assert batcher.batches == {4: 1}


def test_what_differs_is_computed_apart(batcher: Batcher) -> None:
    assert at_once(batcher, [("a", 1), ("b", 2), ("c", 3)]) == [2, 4, 6]
    assert batcher.batches == {1: 3}


def test_a_batch_has_a_limit(batcher: Batcher) -> None:
    assert at_once(batcher, [("a", n) for n in range(9)]) == [n * 2 for n in range(9)]
    assert max(batcher.batches) <= 4


def test_who_is_alone_waits_for_nobody(batcher: Batcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_WAIT_S", 30.0)
    begun = time.monotonic()
    with batcher.active_request():
        assert batcher.call("a", doubled, 1) == 2
    assert time.monotonic() - begun < 10


def test_nobody_waits_long_for_one_who_does_not_call(batcher: Batcher) -> None:
    with batcher.active_request(), batcher.active_request():
        assert batcher.call("a", doubled, 1) == 2


def test_who_is_to_blame_fails_alone(batcher: Batcher) -> None:
    def picky(items: Sequence[int]) -> list[int]:
        if 2 in items:
            raise ValueError("not two")
        return doubled(items)

    results = at_once(batcher, [("a", n) for n in range(4)], picky)
    assert [results[0], results[1], results[3]] == [0, 2, 6]
    assert isinstance(results[2], ValueError)


def test_closing_ends_who_waits_and_who_comes_later() -> None:
    batcher = Batcher(max_batch=4)
    computing, go_on = threading.Event(), threading.Event()

    def slow(items: Sequence[int]) -> list[int]:
        computing.set()
        assert go_on.wait(60)
        return doubled(items)

    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(batcher.call, "a", slow, 1)
        assert computing.wait(60)
        second = threads.submit(batcher.call, "a", slow, 2)
        closing = threads.submit(batcher.close)
        with pytest.raises(Interrupted):
            second.result(60)
        go_on.set()
        assert first.result(60) == 2  # was being computed, and is let finish
        closing.result(60)
    with pytest.raises(Interrupted):
        batcher.call("a", doubled, 1)
