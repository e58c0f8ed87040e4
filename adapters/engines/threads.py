"""Blocking work in one thread, seen from asyncio as a stream of events.

Libraries that block (diffusers, faster-whisper) call back once a step. Here those calls become events, and a reader
that goes away becomes an exception in the next call back.
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
"""Hands over one event. Raises `Interrupted` when nobody waits for it any more: let that pass through."""


class ModelThread(Generic[E]):
    """The one thread in which a model runs: calls wait for each other in order of arrival.

    A model that can take several calls at once may have several.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        """Starts the thread on first use.

        Args:
            name: Of the thread, for debuggers.
            threads: How many calls run at once.
        """
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, once it has run in the model's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def stream(
        self, work: Callable[[Emit[E]], None], interrupt: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[E]:
        """Events as `work` emits them; ends when it returns, raises what it raises.

        Closing the generator makes the next `emit` raise `Interrupted` inside `work`, and waits until it has ended:
        then the model is free. Work that has not begun is dropped.

        Args:
            work: What to do.
            interrupt: Called once nobody waits any more, for work that can be broken off between two events.
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
        future.add_done_callback(lambda _: queue.put_nowait(None))  # behind all events, also where `work` never began
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
                future.exception()  # seen: the reader was told, or has gone

    def close(self) -> None:
        """Ends the thread once its present work is done."""
        self._executor.shutdown(wait=False, cancel_futures=True)
