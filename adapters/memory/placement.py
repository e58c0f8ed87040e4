"""Whether a model fits in the memory budgets of this machine, for the pool, `doctor` and validation alike."""

from collections.abc import Collection, Mapping

from adapters.catalog.catalog import ModelEntry
from adapters.errors import ModelLoadFailed
from adapters.hardware import DeviceIndex
from adapters.registry import BACKENDS

GIB = 2**30

Budgets = Mapping[DeviceIndex, int]
"""Bytes for all models together, on each GPU and in RAM; see `adapters.hardware.Hardware.budgets`."""


def runs_on_cpu(entry: ModelEntry) -> bool:
    """Whether a model never uses a GPU: its backend cannot, or its options say so."""
    return BACKENDS[entry.backend].cpu_only or entry.options.get("device") == "cpu"


def allowed_devices(name: str, entry: ModelEntry, budgets: Budgets) -> tuple[tuple[DeviceIndex, ...], int]:
    """(devices that a model may use, how many of them it takes).

    Raises:
        ModelLoadFailed: This machine does not have the devices that the entry asks for.
    """
    gpus = tuple(index for index in budgets if index is not None)
    if entry.devices is None and (runs_on_cpu(entry) or not gpus):
        return (None,), 1
    wanted, count = entry.devices or gpus, int(entry.options.get("tensor_parallel_size", 1))
    if absent := sorted(set(wanted) - set(gpus)):
        available = f"the GPUs {', '.join(map(str, gpus))}" if gpus else "no GPU"
        raise ModelLoadFailed(
            f"The model {name!r} is configured for GPU {absent[0]}; this machine has {available}. "
            "Change its `devices` in the catalog."
        )
    if count > len(wanted):
        raise ModelLoadFailed(
            f"The model {name!r} is configured for {count} GPUs; it may use {len(wanted)}. "
            "Change its option `tensor_parallel_size` in the catalog."
        )
    return wanted, count


def refusal(name: str, entry: ModelEntry, needed_bytes: int, budgets: Budgets) -> str:
    """Why a model can never be loaded on this machine, as a sentence; "" where it fits alone.

    Args:
        name: The model's name.
        entry: Its catalog entry.
        needed_bytes: Of all its devices together.
        budgets: Of this machine.
    """
    try:
        allowed, count = allowed_devices(name, entry, budgets)
    except ModelLoadFailed as error:
        return error.message
    share = -(-needed_bytes // count)
    if sum(budgets.get(index, 0) >= share for index in allowed) >= count:
        return ""
    return too_large(name, share, count, {index: budgets.get(index, 0) for index in allowed})


def too_large(name: str, share: int, count: int, budgets: Budgets, pinned: Budgets | None = None) -> str:
    """The refusal of a model that no device can hold.

    Args:
        name: The model's name.
        share: Bytes that it needs on each of its devices.
        count: How many devices it takes.
        budgets: Of the devices that it may use.
        pinned: Bytes that pinned models hold on each of them.
    """
    found: list[str] = []
    for index, budget in budgets.items():
        where = f" on GPU {index}" if index is not None else ""
        held = (pinned or {}).get(index, 0)
        reserved = f", of which pinned models hold {held / GIB:.2f} GiB" if held else ""
        found.append(f"{budget / GIB:.2f} GiB{where}{reserved}")
    listed = "; ".join(found) if any("," in one for one in found) else ", ".join(found)
    each = f" on each of {count} GPUs" if count > 1 else ""
    return f"The model {name!r} needs about {share / GIB:.2f} GiB{each}; the memory budget is {listed}."


def fitting_together(needs: Mapping[str, int], budget: int) -> tuple[str, ...]:
    """The models of a profile that stay loaded side by side on one device, added in the profile's order.

    Args:
        needs: Bytes of each model.
        budget: Of the device.
    """
    chosen: list[str] = []
    left = budget
    for name, needed in needs.items():
        if needed <= left:
            chosen.append(name)
            left -= needed
    return tuple(chosen)


def spare_bytes(
    name: str,
    entries: Mapping[str, ModelEntry],
    needs: Mapping[str, int],
    devices: Collection[DeviceIndex],
    budgets: Budgets,
) -> int:
    """Bytes that stay free on each device of a model when all models that may run there are loaded; 0 if too few.

    Args:
        name: The model whose cache may grow.
        entries: All served models.
        needs: Bytes of each model; 0: unknown, and then nothing can be said.
        devices: The model's own.
        budgets: Of this machine.
    """
    left = {index: budgets[index] for index in devices}
    for other, entry in entries.items():
        try:
            allowed, count = (tuple(devices), len(devices)) if other == name else allowed_devices(other, entry, budgets)
        except ModelLoadFailed:  # it cannot be loaded on this machine
            continue
        for index in set(allowed) & set(devices):
            if not needs[other]:
                return 0
            left[index] -= -(-needs[other] // count)
    return max(0, min(left.values(), default=0))
