"""A request's use of a model: a leased model is not unloaded."""

from collections.abc import Awaitable, Callable
from time import monotonic
from types import TracebackType
from typing import Generic, TypeVar

from adapters.base import Adapter, EmbeddingAdapter
from adapters.errors import CallerBusy, ModelBusy
from adapters.pool.fair_share import CALLER
from adapters.pool.slot import Slot

MAX_LEASES = 512
"""Leases of one model at a time; one more is `ModelBusy`."""
MAX_EMBEDDING_LEASES = 4096
"""The same of an embedding model: as many as there are connections. Its requests are short, and clients that index a
document send each of its chunks as a request of its own, all at once, and do not try again."""
RESERVED = 0.25
"""The share of them that is kept for callers with few leases."""
FEW_LEASES = 16

A = TypeVar("A", bound=Adapter)


class Lease(Generic[A]):
    """One use of a model, as an async context manager. Create it with `Pool.lease`.

    Every request creates one, and a class costs half as much as a generator-based context manager.
    """

    __slots__ = ("_caller", "_kind", "_model", "_notify", "_ready", "_slot")

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
        self._caller = caller = CALLER.get()
        taken = slot.leases + slot.waiting
        most = MAX_EMBEDDING_LEASES if self._kind is EmbeddingAdapter else MAX_LEASES
        if taken >= most:
            raise ModelBusy(f"The model {slot.name!r} already has {most} requests; send this one again later.")
        if caller and taken >= most * (1 - RESERVED) and slot.callers[caller] >= FEW_LEASES:
            raise CallerBusy(
                f"You already have {slot.callers[caller]} requests at the model {slot.name!r}, and its last places are "
                "kept for others. Send this one again when some of yours have finished."
            )
        slot.waiting += 1
        slot.callers[caller] += 1
        try:
            ready = await self._ready(slot)
            while ready is not slot.adapter or slot.state != "ready":  # unloaded again in the meantime
                ready = await self._ready(slot)
        except BaseException:
            self._leave()
            raise
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
        self._leave()
        if self._model.alive:
            slot.failures = 0
        slot.used_at = monotonic()
        if not slot.leases:
            slot.idle.set()
        self._notify()
        slot.measure()

    def _leave(self) -> None:
        callers = self._slot.callers
        callers[self._caller] -= 1
        if not callers[self._caller]:
            del callers[self._caller]
