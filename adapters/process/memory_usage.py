"""How much of the memory that models compute in processes use (a GPU's, else RAM), and how freed memory is returned."""

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable, Collection

import psutil

from adapters import hardware

COLLECTIONS = 2
"""Garbage collections after an unload: objects that finalizers release are found by the next one only."""
DELAY_S = 1.0
"""Between an unload and returning its memory."""

M_ARENA_MAX = -8
"""mallopt(3): how many heaps glibc uses for the threads of a process."""


def keep_one_heap() -> None:
    """Has all threads of this process allocate from one heap. Call it before any thread starts.

    glibc gives threads heaps of their own, up to eight per core, and every engine is loaded by new threads: the free
    room in one's heap would be of no use to the next. Small blocks still come from a lock-free cache of each thread.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_ARENA_MAX, 1)


def trim() -> None:
    """Returns to the system what this process has freed. Takes some tenths of a second.

    CPython caches attribute look-ups on types, and with them up to 4,096 attribute names. Some names were created while
    a vocabulary filled a hundred arenas, a few in each, and an arena (1 MiB) is returned only when it is empty. The
    cache fills again with the next look-ups.
    """
    sys._clear_type_cache()  # INTERNAL cpython==3.11: see above  # pyright: ignore[reportPrivateUsage]
    for _ in range(COLLECTIONS):
        gc.collect()
    if malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        malloc_trim(0)


class MemoryTrimmer:
    """Returns the memory of unloaded models to the system, a little later and in a background task.

    An engine's last tasks, threads and exceptions keep its objects alive for some turns of the event loop after its
    end. Trimming at once would return nothing yet: 250 MB of a tokenizer, when that was tried.
    """

    def __init__(self, work: Callable[[], None] = trim) -> None:
        """Starts nothing.

        Args:
            work: What returns the memory; runs in a thread.
        """
        self._work = work
        self._requested = False
        self._task: asyncio.Task[None] | None = None

    def request(self) -> None:
        """Has memory returned once no model was unloaded for `DELAY_S`."""
        self._requested = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Cancels what is requested."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._requested:
            self._requested = False
            await asyncio.sleep(DELAY_S)
            if not self._requested:  # else another model was unloaded meanwhile: wait again
                await asyncio.to_thread(self._work)


def used_bytes(pid: int, devices: Collection[int] | None = None) -> int | None:
    """Bytes that a process and all its descendants use now; None if unknown, or if the process has ended.

    Args:
        pid: Of the process.
        devices: Its GPUs, on which memory is counted; empty: it has none, and resident memory is counted. None: it may
            use any, if there is one.
    """
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        if hardware.gpus() if devices is None else devices:
            return hardware.gpu_bytes({one.pid for one in family})
        return sum(one.memory_info().rss for one in family)
    except psutil.Error:
        return None
