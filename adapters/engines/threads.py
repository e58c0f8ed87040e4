"""Blocking work in one thread, seen from asyncio as a stream of events.

Libraries that block (diffusers, faster-whisper) call back after every step. Here those calls become events, and when
the reader has gone, the next call raises an exception.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Generic, TypeVar

from adapters.errors import Interrupted

E = TypeVar("E")
T = TypeVar("T")
Emit = Callable[[E], None]
"""Sends one event. Raises `Interrupted` once the reader has gone: do not catch it."""


class ModelThread(Generic[E]):
    """The thread in which a model runs: calls run one after the other, in order of arrival.

    A model that can process several calls at once may have several threads.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        """Starts the thread on first use.

        Args:
            name: Of the thread, for debuggers.
            threads: How many calls run at once.
        """
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        """Runs `work` in the model's thread and returns its result."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def stream(
        self, work: Callable[[Emit[E]], None], interrupt: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[E]:
        """Yields events as `work` emits them; ends when it returns, raises what it raises.

        Closing the generator makes the next `emit` raise `Interrupted` inside `work`, and waits until `work` has ended:
        then the model is free. Work that has not started is dropped.

        Args:
            work: Runs in the model's thread; gets `emit`.
            interrupt: Called when the reader has gone, for work that can be stopped between two events.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[E | None] = asyncio.Queue()
        closed = Event()

        def emit(event: E) -> None:
            if closed.is_set():
                raise Interrupted("The request was cancelled.")
            loop.call_soon_threadsafe(queue.put_nowait, event)

        def body() -> None:
            if not closed.is_set():
                work(emit)

        future = loop.run_in_executor(self._executor, body)
        future.add_done_callback(lambda _: queue.put_nowait(None))  # after all events, and also if `work` never started
        try:
            while (event := await queue.get()) is not None:
                yield event
            if future.cancelled():
                raise Interrupted("The model was unloaded.")
            future.result()
        finally:
            closed.set()
            interrupt()
            if not future.done():
                await asyncio.wait([future])
            if not future.cancelled():
                future.exception()  # marks it as retrieved: the reader got it, or has gone

    def close(self) -> None:
        """Ends the thread once its current work is done; queued work is dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)
