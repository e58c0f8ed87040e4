"""What a request holds while it uses a model: nothing is unloaded under a lease."""

from collections.abc import Awaitable, Callable
from time import monotonic
from types import TracebackType
from typing import Generic, TypeVar

from adapters.base import Adapter
from adapters.errors import ModelBusy
from adapters.pool.slot import Slot

MAX_LEASES = 512
"""Of one model at a time; one more is `ModelBusy`."""

A = TypeVar("A", bound=Adapter)


class Lease(Generic[A]):
    """One use of a model, as an async context manager. Make it with `Pool.lease`.

    A class, because every request makes one: a generator in its place costs twice as much.
    """

    __slots__ = ("_kind", "_model", "_notify", "_ready", "_slot")

    def __init__(
        self, slot: Slot, kind: type[A], ready: Callable[[Slot], Awaitable[Adapter]], notify: Callable[[], None]
    ) -> None:
        """Nothing is held yet.

        Args:
            slot: The model.
            kind: What it must be once it is loaded.
            ready: Loads it where that is needed.
            notify: Called when the lease has ended.
        """
        self._slot = slot
        self._kind = kind
        self._ready = ready
        self._notify = notify

    async def __aenter__(self) -> A:
        """The loaded model. Raises as `Pool.lease`."""
        slot = self._slot
        if slot.leases + slot.waiting >= MAX_LEASES:
            raise ModelBusy(f"The model {slot.name!r} has {MAX_LEASES} requests already.")
        slot.waiting += 1
        try:
            ready = await self._ready(slot)
            while ready is not slot.adapter or slot.state != "ready":  # unloaded again before we had our turn
                ready = await self._ready(slot)
        finally:
            slot.waiting -= 1
        assert isinstance(ready, self._kind), f"backend {slot.entry.backend} is not what its row says"
        slot.leases += 1
        slot.idle.clear()
        self._model = ready
        return ready

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it."""
        slot = self._slot
        slot.leases -= 1
        if self._model.alive:
            slot.failures = 0
        slot.used_at = monotonic()
        slot.measure()
        if not slot.leases:
            slot.idle.set()
        self._notify()
