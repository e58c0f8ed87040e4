"""The hardware of this machine: GPUs (by NVIDIA's management library), and cores and RAM within container limits."""

import os
import re
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

CGROUP = Path("/sys/fs/cgroup")
"""Mount point of control groups (version 2). In a container, its own group is the root."""
MIN_DRIVER = 580
"""The NVIDIA driver version that CUDA 13 needs, with which torch and vLLM are built."""
MIN_CAPABILITY = (7, 5)
"""The lowest compute capability that vLLM's CUDA build has code for."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that models can run on."""

    kind: Literal["cuda", "cpu"]
    name: str
    total_bytes: int
    free_bytes: int
    """At the time of the call."""
    index: int | None = None
    """A GPU's nvidia-smi index; None: the CPU."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """The hardware that this process may use."""

    devices: tuple[Device, ...]
    """GPUs first; the CPU with its RAM is always last."""
    cpu_count: int
    """Cores that this process may use."""
    ram_bytes: int
    """RAM that this process may use, in total."""

    @property
    def main(self) -> Device:
        """The device with the most memory: the largest GPU, or the CPU if there is no GPU."""
        return max(
            (one for one in self.devices if one.kind == "cuda"), key=lambda one: one.total_bytes, default=self.cpu
        )

    @property
    def cpu(self) -> Device:
        """The CPU."""
        return self.devices[-1]

    def budgets(self, limit_bytes: int | None = None) -> dict[int | None, int]:
        """Memory budgets of models on each GPU, by its index, and in RAM (None): 90 % of the free memory.

        Args:
            limit_bytes: The budget on each GPU instead, or in RAM if there is no GPU.
        """
        found = {one.index: one.free_bytes * 9 // 10 for one in self.devices}
        if limit_bytes is not None:
            limits = {one.index: min(limit_bytes, one.total_bytes) for one in self.devices if one.kind == "cuda"}
            found |= limits or {None: limit_bytes}
        return found


def find() -> Hardware:
    """The hardware of this machine, with the memory that is free now."""
    import psutil  # here, because `server/commands/install.py` uses this module before anything is installed

    memory = psutil.virtual_memory()
    limit, used = cgroup_memory()
    total = min(memory.total, limit) if limit is not None else memory.total
    free = min(memory.available, max(0, limit - used)) if limit is not None else memory.available
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    cpu = Device("cpu", _cpu_name(), total, free)
    return Hardware((*gpus(), cpu), cores, total)


def gpus() -> tuple[Device, ...]:
    """NVIDIA GPUs that this process may use (CUDA_VISIBLE_DEVICES) and the CUDA build supports."""
    nvml = _nvml()
    if nvml is None:
        return ()
    try:
        handles = _handles(nvml)
        shown = visible([str(nvml.nvmlDeviceGetUUID(handle)) for handle in handles])
        driver = str(nvml.nvmlSystemGetDriverVersion())
        usable = [i for i in shown if not cuda_problem("", driver, nvml.nvmlDeviceGetCudaComputeCapability(handles[i]))]
        return tuple(_gpu(nvml, handles[index], index) for index in usable)
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


def cuda_problem(name: str, driver: str, capability: tuple[int, int] | None) -> str:
    """Why a GPU cannot run the CUDA builds of torch and vLLM, in a line; "" where it can.

    Args:
        name: The GPU's name, for the line.
        driver: The version of NVIDIA's driver, as in "580.65.06".
        capability: The GPU's compute capability, where it is known.
    """
    major = re.match(r"\d+", driver)
    if major is None or int(major[0]) < MIN_DRIVER:
        return f"{name}: NVIDIA's driver is {driver}, and the CUDA build needs {MIN_DRIVER} or newer"
    if capability is not None and tuple(capability) < MIN_CAPABILITY:
        has, least = (".".join(map(str, one)) for one in (capability, MIN_CAPABILITY))
        return f"{name}: its compute capability is {has}, and the CUDA build needs {least} or more"
    return ""


def environment(devices: Sequence[int] | None) -> dict[str, str]:
    """Environment variables that restrict a process to some GPUs.

    Args:
        devices: Indices of the GPUs; empty: no GPU; None: no restriction.
    """
    if devices is None:
        return {}
    # NVIDIA's management library and nvidia-smi use the order of the bus; CUDA's default is the fastest GPU first.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, devices))}


def visible(uuids: list[str]) -> list[int]:
    """Indices of the GPUs that CUDA_VISIBLE_DEVICES lets this process use, in its order.

    As in the CUDA programming guide: indices or prefixes of UUIDs; the list ends at the first invalid one.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return list(range(len(uuids)))
    found: list[int] = []
    for name in (name.strip() for name in chosen.split(",")):
        matches = [i for i, uuid in enumerate(uuids) if name == str(i) or (name and uuid.startswith(name))]
        if len(matches) != 1:
            break
        found.append(matches[0])
    return found


def _gpu(nvml: Any, handle: Any, index: int) -> Device:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Device("cuda", str(nvml.nvmlDeviceGetName(handle)), int(memory.total), int(memory.free), index)


def cgroup_memory(root: Path = CGROUP, membership: Path = Path("/proc/self/cgroup")) -> tuple[int | None, int]:
    """(lowest memory.max of this process's group and its ancestors, memory used in that group); (None, 0): no limit.

    See the kernel's Documentation/admin-guide/cgroup-v2.rst.
    """
    try:
        lines = membership.read_text("ascii").splitlines()
    except OSError:
        return None, 0
    relative = next((line.removeprefix("0::").lstrip("/") for line in lines if line.startswith("0::")), "")
    group = root / relative if ".." not in relative.split("/") else root
    lowest: tuple[int | None, int] = (None, 0)
    for directory in (group, *group.parents):
        if not directory.is_relative_to(root):
            break
        try:
            limit = (directory / "memory.max").read_text("ascii").strip()
            if limit != "max" and (lowest[0] is None or int(limit) < lowest[0]):
                lowest = int(limit), _used(directory)
        except (OSError, ValueError):
            continue
    return lowest


def _used(directory: Path) -> int:
    """Bytes in use in a control group, without the page cache that the kernel can drop."""
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
