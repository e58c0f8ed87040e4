"""A request's use of a model: a leased model is not unloaded."""

from collections.abc import Awaitable, Callable
from time import monotonic
from types import TracebackType
from typing import Generic, TypeVar

from adapters.base import Adapter
from adapters.errors import ModelBusy
from adapters.pool.slot import Slot

MAX_LEASES = 512
"""Leases of one model at a time; one more is `ModelBusy`."""

A = TypeVar("A", bound=Adapter)


class Lease(Generic[A]):
    """One use of a model, as an async context manager. Create it with `Pool.lease`.

    Every request creates one, and a class costs half as much as a generator-based context manager.
    """

    __slots__ = ("_kind", "_model", "_notify", "_ready", "_slot")

    def __init__(
        self, slot: Slot, kind: type[A], ready: Callable[[Slot], Awaitable[Adapter]], notify: Callable[[], None]
    ) -> None:
        """The lease starts when the context is entered.

        Args:
            slot: The model.
            kind: The adapter class that the loaded model must have.
            ready: Loads the model where needed.
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
            raise ModelBusy(f"The model {slot.name!r} already has {MAX_LEASES} requests; send this one again later.")
        slot.waiting += 1
        try:
            ready = await self._ready(slot)
            while ready is not slot.adapter or slot.state != "ready":  # unloaded again in the meantime
                ready = await self._ready(slot)
        finally:
            slot.waiting -= 1
        assert isinstance(ready, self._kind), (
            f"backend {slot.entry.backend} is of another kind than its registry row says"
        )
        slot.leases += 1
        slot.idle.clear()
        self._model = ready
        return ready

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the lease."""
        slot = self._slot
        slot.leases -= 1
        if self._model.alive:
            slot.failures = 0
        slot.used_at = monotonic()
        if not slot.leases:
            slot.idle.set()
        self._notify()
        slot.measure()
