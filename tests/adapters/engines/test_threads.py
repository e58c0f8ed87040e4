"""Blocking work as a stream of events."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from adapters.engines.threads import ModelThread
from adapters.errors import Interrupted


async def test_events_arrive_as_they_are_emitted_and_errors_pass() -> None:
    thread: ModelThread[int] = ModelThread("test")
    go = threading.Event()

    def work(emit: Callable[[int], None]) -> None:
        emit(1)
        assert go.wait(5)
        emit(2)
        raise ValueError("broken")

    stream = thread.stream(work)
    assert await anext(stream) == 1  # before 2 exists
    go.set()
    assert await anext(stream) == 2
    with pytest.raises(ValueError, match="broken"):
        await anext(stream)
    thread.close()


async def test_closing_interrupts_the_work_and_waits_for_its_end() -> None:
    thread: ModelThread[int] = ModelThread("test")
    ended: list[float] = []

    def work(emit: Callable[[int], None]) -> None:
        try:
            for step in range(1000):
                emit(step)
                time.sleep(0.02)
        except Interrupted:
            ended.append(time.monotonic())
            raise

    stream = thread.stream(work)
    await anext(stream)
    await stream.aclose()
    assert ended
    assert await thread.run(lambda: "free") == "free"
    thread.close()


async def test_work_that_waits_when_the_thread_closes_is_interrupted_not_forgotten() -> None:
    thread: ModelThread[int] = ModelThread("test")
    go = threading.Event()
    busy = asyncio.create_task(thread.run(lambda: go.wait(5)))

    async def wait() -> list[int]:
        return [event async for event in thread.stream(lambda emit: emit(1))]

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0.05)
    thread.close()
    go.set()
    with pytest.raises(Interrupted):
        await waiting
    assert await busy
