"""The hardware of this machine: GPUs (by NVIDIA's management library), and cores and RAM within container limits."""

import os
import re
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
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
BUDGET_SHARE = 0.9
"""Of the free memory of a device: the budget of models. The rest is for what the estimates do not know."""
MIG_INDEX = 100
"""A MIG instance, a part of a GPU, has the index `MIG_INDEX * (1 + index of the GPU) + its number on that GPU`."""

DeviceIndex = int | None
"""A GPU, by its nvidia-smi index (see also `MIG_INDEX`); None: the CPU, whose memory is RAM."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that models can run on."""

    kind: Literal["cuda", "cpu"]
    name: str
    total_bytes: int
    free_bytes: int
    """At the time of the call."""
    index: DeviceIndex = None


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

    def budgets(self, limit_bytes: int | None = None) -> dict[DeviceIndex, int]:
        """Memory budgets of models on each GPU, by its index, and in RAM (None): `BUDGET_SHARE` of the free memory.

        Args:
            limit_bytes: The budget on each GPU instead, or in RAM if there is no GPU.
        """
        found = {one.index: int(one.free_bytes * BUDGET_SHARE) for one in self.devices}
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
    """NVIDIA GPUs that this process may use (CUDA_VISIBLE_DEVICES) and the CUDA build supports.

    Of a GPU that is divided (MIG), each instance is a device of its own, since CUDA cannot use the whole.
    """
    nvml = _nvml()
    if nvml is None:
        return ()
    found = _handles(nvml)
    shown = visible([one.uuid for one in found], [one.gpu for one in found])
    return tuple(device for place in shown if (device := _device(nvml, found[place])) is not None)


def gpu_bytes(pids: Collection[int]) -> int | None:
    """Bytes of GPU memory that the driver counts for these processes, on all GPUs together.

    None: unknown. In a container the driver names processes by their ids on the host, and for MIG instances it may
    not tell the memory of each process.
    """
    nvml = _nvml()
    if nvml is None:
        return None
    total = 0
    for one in _handles(nvml):
        try:
            running = nvml.nvmlDeviceGetComputeRunningProcesses(one.handle)
        except nvml.NVMLError:
            continue
        total += sum(process.usedGpuMemory or 0 for process in running if process.pid in pids)
    return total or None


@cache
def _nvml() -> Any:
    """NVIDIA's management library, initialised once; None where there is no GPU to use."""
    try:
        nvml: Any = import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # not installed, no driver, no permission
        return None
    return nvml


@dataclass(frozen=True, slots=True)
class _Handle:
    """A GPU, or one MIG instance of it."""

    handle: Any
    """Of NVML."""
    parent: Any
    """The GPU's own handle."""
    gpu: int
    """The GPU's nvidia-smi index."""
    index: int
    uuid: str


def _handles(nvml: Any) -> list[_Handle]:
    """All GPUs, and the MIG instances of those that are divided. One that has failed does not hide the others."""
    found: list[_Handle] = []
    try:
        count = int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError:
        return []
    for gpu in range(count):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(gpu)
            instances = _mig_instances(nvml, handle)
            if instances is None:
                found.append(_Handle(handle, handle, gpu, gpu, str(nvml.nvmlDeviceGetUUID(handle))))
                continue
            for number, instance in instances:
                index, uuid = MIG_INDEX * (1 + gpu) + number, str(nvml.nvmlDeviceGetUUID(instance))
                found.append(_Handle(instance, handle, gpu, index, uuid))
        except nvml.NVMLError:
            continue
    return found


def _mig_instances(nvml: Any, handle: Any) -> list[tuple[int, Any]] | None:
    """The MIG instances of a GPU, with their numbers; None: it is not divided."""
    try:
        if not nvml.nvmlDeviceGetMigMode(handle)[0]:
            return None
        count = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except nvml.NVMLError:  # most GPUs do not support it
        return None
    found: list[tuple[int, Any]] = []
    for number in range(count):
        with suppress(nvml.NVMLError):  # there is no instance of this number, or it is not in this container
            found.append((number, nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)))
    return found


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
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(_cuda_name, devices))}


def _cuda_name(index: int) -> str:
    """A device as CUDA_VISIBLE_DEVICES names it: a GPU by its index, a MIG instance by its UUID."""
    nvml = _nvml() if index >= MIG_INDEX else None
    found = _handles(nvml) if nvml is not None else []
    return next((one.uuid for one in found if one.index == index), str(index))


def visible(uuids: Sequence[str], gpus: Sequence[int] | None = None) -> list[int]:
    """Positions of the devices that CUDA_VISIBLE_DEVICES lets this process use, in its order.

    As in the CUDA programming guide: indices or prefixes of UUIDs; the list ends at the first invalid one. The index of
    a divided GPU means its first MIG instance.

    Args:
        uuids: Of all devices.
        gpus: The index of each device's GPU; None: every device is a GPU of its own.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return list(range(len(uuids)))
    numbers = list(range(len(uuids)) if gpus is None else gpus)
    found: list[int] = []
    for name in (name.strip() for name in chosen.split(",")):
        matches = [i for i, number in enumerate(numbers) if name == str(number)][:1]
        matches = matches or [i for i, uuid in enumerate(uuids) if name and uuid.startswith(name)]
        if len(matches) != 1:
            break
        found.append(matches[0])
    return found


def _device(nvml: Any, one: _Handle) -> Device | None:
    """A device with its memory; None: the CUDA build does not support it, or it does not answer."""
    try:
        driver = str(nvml.nvmlSystemGetDriverVersion())
        if cuda_problem("", driver, nvml.nvmlDeviceGetCudaComputeCapability(one.parent)):
            return None
        memory = nvml.nvmlDeviceGetMemoryInfo(one.handle)
        return Device("cuda", str(nvml.nvmlDeviceGetName(one.handle)), int(memory.total), int(memory.free), one.index)
    except nvml.NVMLError:
        return None


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
