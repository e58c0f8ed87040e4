"""What this machine computes in: GPUs by NVIDIA's management library, cores and RAM within the container's limits."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import psutil

CGROUP = Path("/sys/fs/cgroup")
"""Where control groups (version 2) are mounted: in a container, its own is the root."""


@dataclass(frozen=True, slots=True)
class Device:
    """Something that models can live in."""

    kind: Literal["cuda", "cpu"]
    name: str
    total_bytes: int
    free_bytes: int
    """Now."""
    index: int | None = None
    """A GPU's number, as nvidia-smi shows it; None: the CPU."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine, as far as this process may use it."""

    devices: tuple[Device, ...]
    """GPUs first; the CPU with its RAM is always the last."""
    cpu_count: int
    """Cores that this process may use."""
    ram_bytes: int
    """RAM that this process may use, all told."""

    @property
    def main(self) -> Device:
        """Where there is most room for a model: the largest GPU, else the CPU."""
        return max(
            (one for one in self.devices if one.kind == "cuda"), key=lambda one: one.total_bytes, default=self.cpu
        )

    @property
    def cpu(self) -> Device:
        """The CPU."""
        return self.devices[-1]

    def budgets(self, limit_bytes: int | None = None) -> dict[int | None, int]:
        """What models may take on each GPU, by its number, and in RAM (None): nine tenths of what is free.

        Args:
            limit_bytes: Instead, on each GPU, or in RAM where there is none.
        """
        found = {one.index: one.free_bytes * 9 // 10 for one in self.devices}
        if limit_bytes is not None:
            limits = {one.index: min(limit_bytes, one.total_bytes) for one in self.devices if one.kind == "cuda"}
            found |= limits or {None: limit_bytes}
        return found


def find() -> Hardware:
    """The hardware of this machine, as it is now."""
    memory = psutil.virtual_memory()
    limit, used = cgroup_memory()
    total = min(memory.total, limit) if limit is not None else memory.total
    free = min(memory.available, max(0, limit - used)) if limit is not None else memory.available
    cores = len(os.sched_getaffinity(0))
    cpu = Device("cpu", _cpu_name(), total, free)
    return Hardware((*gpus(), cpu), cores, total)


def gpus() -> tuple[Device, ...]:
    """NVIDIA's GPUs that this process may use (CUDA_VISIBLE_DEVICES); none where there is no driver."""
    nvml = _nvml()
    if nvml is None:
        return ()
    try:
        handles = _handles(nvml)
        shown = visible([str(nvml.nvmlDeviceGetUUID(handle)) for handle in handles])
        return tuple(_gpu(nvml, handles[index], index) for index in shown)
    except nvml.NVMLError:
        return ()


def gpu_bytes(pids: Collection[int]) -> int:
    """Bytes of GPU memory that the driver counts for these processes, on all GPUs together; 0 without a GPU."""
    nvml = _nvml()
    if nvml is None:
        return 0
    try:
        running = [one for handle in _handles(nvml) for one in nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    except nvml.NVMLError:
        return 0
    return sum(one.usedGpuMemory or 0 for one in running if one.pid in pids)


@cache
def _nvml() -> Any:
    """NVIDIA's management library, initialised once; None where there is no GPU to use."""
    try:
        nvml: Any = import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # not installed, no driver, no permission
        return None
    return nvml


def _handles(nvml: Any) -> list[Any]:
    return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]


def environment(devices: Sequence[int] | None) -> dict[str, str]:
    """What a process's environment must say so that it sees these GPUs, and no others.

    Args:
        devices: Their numbers; none: it sees no GPU; None: what this process sees.
    """
    if devices is None:
        return {}
    # NVIDIA's management library and nvidia-smi count in the order of the bus; CUDA puts the fastest first otherwise.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, devices))}


def visible(uuids: list[str]) -> list[int]:
    """Indices of the GPUs that CUDA_VISIBLE_DEVICES lets this process use, in its order.

    As the CUDA programming guide has it: indices or beginnings of UUIDs; the first that means nothing ends the list.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return list(range(len(uuids)))
    found: list[int] = []
    for part in (part.strip() for part in chosen.split(",")):
        matches = [i for i, uuid in enumerate(uuids) if part == str(i) or (part and uuid.startswith(part))]
        if len(matches) != 1:
            break
        found.append(matches[0])
    return found


def _gpu(nvml: Any, handle: Any, index: int) -> Device:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Device("cuda", str(nvml.nvmlDeviceGetName(handle)), int(memory.total), int(memory.free), index)


def cgroup_memory(root: Path = CGROUP, membership: Path = Path("/proc/self/cgroup")) -> tuple[int | None, int]:
    """(the least memory.max of this process's group and those above, what is used within it); (None, 0): no limit.

    See the kernel's Documentation/admin-guide/cgroup-v2.rst.
    """
    try:
        lines = membership.read_text("ascii").splitlines()
    except OSError:
        return None, 0
    relative = next((line.removeprefix("0::").lstrip("/") for line in lines if line.startswith("0::")), "")
    group = root / relative if ".." not in relative.split("/") else root
    least: tuple[int | None, int] = (None, 0)
    for directory in (group, *group.parents):
        if not directory.is_relative_to(root):
            break
        try:
            limit = (directory / "memory.max").read_text("ascii").strip()
            if limit != "max" and (least[0] is None or int(limit) < least[0]):
                least = int(limit), _used(directory)
        except (OSError, ValueError):
            continue
    return least


def _used(directory: Path) -> int:
    """Bytes in use within a control group; the page cache that the kernel would drop first is not."""
    used = int((directory / "memory.current").read_text("ascii"))
    for line in (directory / "memory.stat").read_text("ascii").splitlines():
        if line.startswith("inactive_file "):
            used -= int(line.split()[1])
    return max(0, used)


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return "CPU"
