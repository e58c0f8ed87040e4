"""What processes hold of the memory that models compute in: the GPU's where they use one, else RAM."""

import ctypes
import gc
from collections.abc import Collection
from functools import cache
from typing import Any

import psutil


def give_back() -> None:
    """Returns to the system what this process has freed; glibc keeps it otherwise. Takes some tenths of a second."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


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
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # not installed, no driver, no rights: all mean the same here
        return None
    return pynvml
