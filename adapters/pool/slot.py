"""A served model and the state that it is in: what the pool and its admission share."""

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

from adapters.base import Adapter
from adapters.catalog.catalog import ModelEntry
from adapters.pool.eviction import Place, Resident

State = Literal["unloaded", "loading", "ready", "draining", "unloading", "failed"]

MEASURE_EVERY_S = 2.0
"""Between two looks at what a model holds."""
MAX_REST_S = 60.0


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
    loading: asyncio.Task[Adapter] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while it is loaded or unloaded."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while nobody holds a lease."""
    asleep: bool = False
    """It holds no share of the budget, but will be back sooner than a new load (`Adapter.sleep`)."""
    reserved_bytes: int = 0
    """Its share of the memory budgets, of all its devices together; 0 while it has none."""
    places: tuple[Place, ...] = ()
    """Where it is, or will be; empty while it is nowhere, or where nobody counts."""
    estimated_bytes: int | None = None
    """What it should need, from its files alone."""
    measured_at: float = float("-inf")
    peak_bytes: int | None = None
    """The most that its processes were seen to hold, once it has run."""
    used_at: float = field(default_factory=monotonic)
    """When it was last used, on the monotonic clock."""
    failures: int = 0
    """Loads that failed and processes that died, one after the other, since it last served a request."""
    failed_at: float = 0.0
    """When the last of them was, on the monotonic clock."""
    ready_at: float = 0.0
    """When it was loaded, on the monotonic clock."""
    load_s: float = 1.0
    """What loading it took the last time, without downloading."""

    def __post_init__(self) -> None:
        """Nobody uses it yet."""
        self.idle.set()

    def resident(self) -> Resident:
        """How the policy of eviction sees it."""
        return Resident(
            self.name,
            -(-self.reserved_bytes // max(1, len(self.places))),
            busy=bool(self.leases or self.waiting),
            evictable=self.state == "ready" and not self.entry.pin,
            idle_s=monotonic() - self.used_at,
            restore_s=self.load_s,
        )

    def fail(self) -> None:
        """Notes that a load failed, or that the model's process died."""
        self.failures += 1
        self.failed_at = monotonic()

    def rest_s(self) -> float:
        """Seconds until it may be tried again: none after one failure, then 1, 2, 4 ... up to `MAX_REST_S`."""
        rest = min(MAX_REST_S, 2.0 ** (self.failures - 2)) if self.failures > 1 else 0.0
        return max(0.0, self.failed_at + rest - monotonic())

    def measure(self) -> None:
        """Notes what the model holds now, if that is the most ever seen; not too often, since looking costs ms."""
        now = monotonic()
        if now - self.measured_at < MEASURE_EVERY_S:
            return
        self.measured_at = now
        if self.adapter is not None and (held := self.adapter.memory_bytes()) is not None:
            self.peak_bytes = max(held, self.peak_bytes or 0)
