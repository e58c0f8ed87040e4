"""What processes hold of the memory that models compute in: the GPU's where they use one, else RAM."""

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import psutil

COLLECTIONS = 2
"""Of garbage, when models have gone: what finalizers let go of is found only by the next."""
REST_S = 1.0
"""Between an unloading and them."""

M_ARENA_MAX = -8
"""mallopt(3): how many heaps glibc keeps for its threads."""


def keep_one_heap() -> None:
    """Has all threads of this process allocate from one heap. Call it before there are any.

    glibc gives threads heaps of their own, up to eight per core, and every engine is loaded by new threads: what one
    left free in its heap is of no use to the next. Small blocks still come from a cache of each thread, without a lock.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Returns to the system what this process has freed. Takes some tenths of a second.

    Python remembers where it found types' attributes, and keeps up to 4,096 of their names alive for it. Some of them
    came to be while a vocabulary filled a hundred arenas, one here, one there; and an arena, a megabyte, is returned
    only when nothing is left in it. What is forgotten here is found anew at the next look.
    """
    sys._clear_type_cache()  # pyright: ignore[reportPrivateUsage]
    for _ in range(COLLECTIONS):
        gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


class Tidying:
    """Gives back what unloaded models have left in this process, once it has come to rest: in a task of its own.

    An engine's last tasks, threads and exceptions keep its objects for some turns of the loop after it has ended, so an
    unloading that did this itself would find nothing yet: 250 MB of a tokenizer, when that was tried.
    """

    def __init__(self, work: Callable[[], None] = give_back) -> None:
        """Nothing is to be done yet; `work` is what will be, in a thread."""
        self._work = work
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    def wanted(self) -> None:
        """Says that a model has gone."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Does no more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._wanted:
            self._wanted = False
            await asyncio.sleep(REST_S)
            if not self._wanted:  # else another has gone meanwhile, and rests as well first
                await asyncio.to_thread(self._work)


def held_bytes(pid: int) -> int | None:
    """Bytes that a process and all that it started hold now; None when it has gone.

    On a GPU: what the driver counts for these processes. Elsewhere: their resident bytes.
    """
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        on_gpu = _gpu_bytes({one.pid for one in family})
        return on_gpu or sum(one.memory_info().rss for one in family)
    except psutil.Error:
        return None


def _gpu_bytes(pids: Collection[int]) -> int:
    nvml = _nvml()
    if nvml is None:
        return 0
    total = 0
    for index in range(nvml.nvmlDeviceGetCount()):
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        for one in nvml.nvmlDeviceGetComputeRunningProcesses(device):
            total += (one.usedGpuMemory or 0) if one.pid in pids else 0
    return total


@cache
def _nvml() -> Any:
    """NVIDIA's management library, or None where there is no GPU."""
    try:
        import pynvml  # pyright: ignore[reportMissingTypeStubs]

        pynvml.nvmlInit()
    except Exception:  # not installed, no driver, no rights: all mean the same here
        return None
    return pynvml
