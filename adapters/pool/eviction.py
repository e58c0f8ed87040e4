"""Which devices a model gets, and which models are unloaded to make room: one memory budget per device.

Pure functions without a clock or a lock; `adapters/pool/admission.py` calls them and carries out the result.
Property tests are in `tests/adapters/pool/test_eviction.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from adapters.hardware import DeviceIndex


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that holds memory now."""

    name: str
    size_bytes: int
    """On each of its devices."""
    busy: bool = False
    """A request uses it, or waits for it and will use it in a moment."""
    evictable: bool = True
    """False while it is pinned, loading or being unloaded."""
    idle_s: float = 0.0
    """Seconds since it was last used."""
    restore_s: float = 1.0
    """Seconds that loading it again takes."""

    @property
    def cost(self) -> float:
        """Cost of evicting it: the time to load it again, relative to the time it has been idle."""
        return max(self.restore_s, 1e-3) / max(self.idle_s, 1e-9)


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """The memory of one device, and the models that hold it."""

    index: DeviceIndex
    budget_bytes: int
    """Of all models on it together."""
    residents: tuple[Resident, ...] = ()
    """Models that hold some of it. A model on several devices is listed for each of them."""
    pinned_bytes: int = 0
    """Of residents that are never evicted."""

    @property
    def free_bytes(self) -> int:
        """What no model holds."""
        return self.budget_bytes - sum(one.size_bytes for one in self.residents)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model gets its memory."""

    fits: bool
    """Whether it fits now, without evictions."""
    victims: tuple[str, ...] = ()
    """Otherwise: models to unload, in this order. Empty: wait for loads and unloads in progress."""
    possible: bool = True
    """False: it can never fit, because pinned models leave too little."""
    busy: bool = False
    """Whether a victim is in use."""
    cost: float = 0.0
    """Sum of the victims' costs."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The devices for a model, and the plan for its memory on them."""

    devices: tuple[DeviceIndex, ...]
    plan: Plan


def choose_devices(needed_bytes: int, count: int, devices: Sequence[DeviceMemory]) -> Placement:
    """The devices for a model, with the fewest consequences for other models.

    Devices where it fits now come first, then those where idle models are evicted, then those where busy models are
    evicted, then those where it can only wait. Ties are broken by the lowest cost of the victims, then by the most
    memory left free, which spreads models over devices.

    Args:
        needed_bytes: On each of its devices.
        count: Devices that share the model.
        devices: Those it may use; at least `count`.
    """

    def rank(choice: Sequence[DeviceMemory], found: Plan) -> tuple[bool, bool, bool, bool, float, int]:
        waits = not found.fits and not found.victims
        free = min(_without(device, found.victims).free_bytes for device in choice)
        return not found.possible, waits, found.busy, not found.fits, found.cost, -free

    choices = [(choice, plan(needed_bytes, choice)) for choice in combinations(devices, count)]
    choice, found = min(choices, key=lambda one: rank(*one))
    return Placement(tuple(device.index for device in choice), found)


def plan(needed_bytes: int, devices: Sequence[DeviceMemory]) -> Plan:
    """How to free `needed_bytes` on each of some devices.

    Idle models are evicted before busy ones, and among those the one with the lowest cost first, in the spirit of
    GreedyDual-Size for caches of unequal costs (Cao and Irani, 1997). Victims that turn out to be unnecessary are then
    dropped, the most expensive first.

    Args:
        needed_bytes: Of the model to load, on each of the devices.
        devices: The devices.
    """
    if any(needed_bytes > device.budget_bytes - device.pinned_bytes for device in devices):
        return Plan(fits=False, possible=False)
    short = [device for device in devices if device.free_bytes < needed_bytes]
    if not short:
        return Plan(fits=True)
    chosen: list[Resident] = []
    candidates = {one.name: one for device in short for one in device.residents if one.evictable}
    for one in sorted(candidates.values(), key=lambda one: (one.busy, one.cost)):
        missing = [device for device in short if not _enough(needed_bytes, device, chosen)]
        if not missing:
            break
        if any(one.name == other.name for device in missing for other in device.residents):
            chosen.append(one)
    if not all(_enough(needed_bytes, device, chosen) for device in short):
        return Plan(fits=False)  # some models are loading or unloading; the next call sees the result
    for one in reversed(chosen):
        fewer = [other for other in chosen if other is not one]
        if all(_enough(needed_bytes, device, fewer) for device in short):
            chosen = fewer
    return Plan(
        fits=False,
        victims=tuple(one.name for one in chosen),
        busy=any(one.busy for one in chosen),
        cost=sum(one.cost for one in chosen),
    )


def _enough(needed_bytes: int, device: DeviceMemory, victims: Sequence[Resident]) -> bool:
    return _without(device, [one.name for one in victims]).free_bytes >= needed_bytes


def _without(device: DeviceMemory, victims: Sequence[str]) -> DeviceMemory:
    remaining = tuple(one for one in device.residents if one.name not in victims)
    return DeviceMemory(device.index, device.budget_bytes, remaining, device.pinned_bytes)
