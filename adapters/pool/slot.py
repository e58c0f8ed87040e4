"""A served model and its state, shared by the pool and its admission."""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

from adapters.base import Adapter
from adapters.catalog.catalog import ModelEntry
from adapters.hardware import DeviceIndex
from adapters.pool.eviction import Resident

log = logging.getLogger(__name__)

State = Literal["unloaded", "loading", "ready", "draining", "unloading", "failed"]

MEASURE_EVERY_S = 2.0
"""Shortest time between two measurements of a model's memory."""
MAX_BACKOFF_S = 60.0


@dataclass(slots=True, eq=False)
class Slot:
    """One served model."""

    name: str
    entry: ModelEntry
    state: State = "unloaded"
    adapter: Adapter | None = None
    leases: int = 0
    """Requests that use it now."""
    waiting: int = 0
    """Requests that wait for it to be loaded."""
    callers: Counter[str] = field(default_factory=Counter[str])
    """Requests of each caller, of both sorts."""
    loading: asyncio.Task[Adapter] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while it is loaded or unloaded."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while there is no lease."""
    asleep: bool = False
    """It has freed most of its device memory, and wakes faster than it loads (`Adapter.sleep`)."""
    asleep_bytes: int = 0
    """While it sleeps: what it still holds, on all its devices together."""
    ram_bytes: int = 0
    """While it sleeps: its weights in RAM; 0 if RAM is its device."""
    reserved_bytes: int = 0
    """Its share of the memory budgets, of all its devices together; 0 while it has none."""
    cache_bytes: int = 0
    """The part of that share by which its cache has grown beyond its least size (`ModelFiles.cache_bytes`)."""
    devices: tuple[DeviceIndex, ...] = ()
    """Devices that it holds memory on, or will; empty while it holds none, or where there are no budgets."""
    estimated_bytes: int | None = None
    """Estimated from its files."""
    measured_at: float = float("-inf")
    peak_bytes: int | None = None
    """The largest measured memory of its processes without `cache_bytes`; None: it has not run yet, or is unknown."""
    used_at: float = field(default_factory=monotonic)
    """When it was last used, on the monotonic clock."""
    failures: int = 0
    """Failed loads and process deaths since it last served a request."""
    failed_at: float = 0.0
    """When the last of them happened, on the monotonic clock."""
    ready_at: float = 0.0
    """When it was loaded, on the monotonic clock."""
    load_s: float = 1.0
    """Duration of its last load, without the download."""

    def __post_init__(self) -> None:
        """A new slot is idle."""
        self.idle.set()

    def resident(self, index: DeviceIndex | Literal["own"] = "own") -> Resident:
        """The model as the eviction policy sees it, on a device; "own": on each of the devices that it runs on."""
        share = -(-self.reserved_bytes // max(1, len(self.devices)))
        return Resident(
            self.name,
            share if index == "own" or index in self.devices else self.ram_bytes,
            busy=bool(self.leases or self.waiting),
            evictable=(self.state == "ready" or (self.asleep and self.state == "unloaded")) and not self.entry.pin,
            idle_s=monotonic() - self.used_at,
            restore_s=self.load_s,
        )

    def holds(self, index: DeviceIndex) -> bool:
        """Whether it holds memory of a device's budget."""
        return bool(self.reserved_bytes if index in self.devices else index is None and self.ram_bytes)

    @property
    def needed_bytes(self) -> int:
        """What it needs with its cache at the least size, on all its devices together."""
        return max(self.estimated_bytes or 0, self.peak_bytes or 0)

    def record_failure(self) -> None:
        """Records that a load failed, or that the model's process died."""
        self.failures += 1
        self.failed_at = monotonic()

    def backoff_s(self) -> float:
        """Seconds until the next attempt to load it: 0 after one failure, then 1, 2, 4 ... up to `MAX_BACKOFF_S`."""
        backoff = min(MAX_BACKOFF_S, 2.0 ** (self.failures - 2)) if self.failures > 1 else 0.0
        return max(0.0, self.failed_at + backoff - monotonic())

    def measure(self) -> None:
        """Updates `peak_bytes`. Measuring takes milliseconds, so calls soon after another do nothing."""
        now = monotonic()
        if now - self.measured_at < MEASURE_EVERY_S:
            return
        self.measured_at = now
        if (held := self.held_bytes()) is not None:
            self.peak_bytes = max(held - self.cache_bytes, self.peak_bytes or 0)

    def held_bytes(self) -> int | None:
        """Bytes that the model holds now; None: unknown.

        An error of the driver must not end a load or a request that has succeeded.
        """
        try:
            return None if self.adapter is None else self.adapter.memory_bytes()
        except Exception:
            log.warning("the memory of %s cannot be measured", self.name, exc_info=True)
            return None
