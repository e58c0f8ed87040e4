"""Who gets memory: models that want to be loaded wait here, in order, until there is room for them.

One swap at a time. A model that is in use is not touched before somebody has waited `patience_s` for its memory, and
never before it has served for so long itself: until then requests for it are still served, so that those of one model
are collected before a swap. After that it drains: what runs goes on to its end, what comes new waits, nobody starves.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from adapters.budget import plan
from adapters.errors import OutOfMemory
from adapters.slots import Slot

GIB = 2**30
MIN_PATIENCE_S = 0.05
"""Those who waited for a model to be loaded need a moment to take it; without it, two models could swap for ever."""


class Admission:
    """One budget of memory, and the models that share it."""

    def __init__(
        self,
        budget_bytes: int | None,
        slots: Sequence[Slot],
        evict: Callable[[Slot], Awaitable[None]],
        patience_s: float,
    ) -> None:
        """Nothing is reserved yet.

        Args:
            budget_bytes: Of all models together; None: without limit.
            slots: All models.
            evict: Drains and unloads one.
            patience_s: How long a model in use is spared while another waits for its memory.
        """
        self.budget_bytes = budget_bytes
        self._slots = {slot.name: slot for slot in slots}
        self._evict = evict
        self._patience_s = max(patience_s, MIN_PATIENCE_S)
        self._turn = asyncio.Lock()  # first come, first served
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Says that a lease ended or a model changed its state."""
        self._changed.set()

    def release(self, slot: Slot) -> None:
        """Gives back what a model held."""
        slot.reserved_bytes = 0
        self.notify()

    async def reserve(self, slot: Slot, needed_bytes: int) -> None:
        """Returns once the model's memory is reserved; unloads others where that is needed.

        Raises:
            OutOfMemory: It can never fit; at once, with the numbers.
        """
        if self.budget_bytes is None:
            slot.reserved_bytes = needed_bytes
            return
        async with self._turn:
            asked = time.monotonic()
            while not await self._try(slot, needed_bytes, self.budget_bytes, asked):
                pass

    async def evict_idle(self) -> bool:
        """Unloads every model that nobody uses; whether there was one."""
        idle = [slot for slot in self._residents() if (seen := slot.resident()).evictable and not seen.busy]
        await asyncio.gather(*(self._evict(slot) for slot in idle))
        return bool(idle)

    def _residents(self) -> list[Slot]:
        return [slot for slot in self._slots.values() if slot.reserved_bytes or slot.adapter is not None]

    async def _try(self, slot: Slot, needed: int, budget: int, asked: float) -> bool:
        self._changed.clear()
        residents = [one.resident() for one in self._residents()]
        pinned = sum(one.reserved_bytes for one in self._residents() if one.entry.pin)
        found = plan(needed, budget, residents, pinned)
        if not found.possible:
            raise OutOfMemory(
                f"The model {slot.name!r} needs about {needed / GIB:.2f} GiB; the budget is {budget / GIB:.2f} GiB"
                + (f", of which pinned models hold {pinned / GIB:.2f} GiB." if pinned else ".")
            )
        if found.fits:
            slot.reserved_bytes = needed
            return True
        victims = [self._slots[name] for name in found.victims]
        spared_s = max((self._spared_s(victim, asked) for victim in victims), default=None)
        if spared_s is not None and spared_s <= 0:
            await asyncio.gather(*(self._evict(victim) for victim in victims))
        else:
            await self._wait(spared_s)
        return False

    def _spared_s(self, victim: Slot, asked: float) -> float:
        """Seconds that a model is still let alone. Even a new one serves those who waited for it to be loaded."""
        if not victim.resident().busy:
            return 0.0
        return max(asked, victim.ready_at) + self._patience_s - time.monotonic()

    async def _wait(self, at_most_s: float | None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), at_most_s)
