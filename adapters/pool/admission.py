"""Who gets memory, and where: models that want to be loaded wait here, in order, until there is room for them.

Every device has its own budget, and one swap at a time. A model that is in use is not touched before somebody has
waited `patience_s` for its memory, and never before it has served for so long itself: until then requests for it are
still served, so that those of one model are collected before a swap. After that it drains: what runs goes on to its
end, what comes new waits, nobody starves.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress

from adapters.errors import ModelLoadFailed, OutOfMemory
from adapters.pool.eviction import Ledger, Place, place
from adapters.pool.slot import Slot

GIB = 2**30
MIN_PATIENCE_S = 0.05
"""Those who waited for a model to be loaded need a moment to take it; without it, two models could swap for ever."""


class Admission:
    """The budgets of all devices, and the models that share them."""

    def __init__(
        self,
        budgets: Mapping[Place, int] | None,
        slots: Sequence[Slot],
        evict: Callable[[Slot], Awaitable[None]],
        patience_s: float,
    ) -> None:
        """Nothing is reserved yet.

        Args:
            budgets: Bytes of the models on each device; None: without limit, and models go where they like.
            slots: All models.
            evict: Drains and unloads one.
            patience_s: How long a model in use is spared while another waits for its memory.
        """
        self._budgets = budgets
        self._slots = {slot.name: slot for slot in slots}
        self._evict = evict
        self._patience_s = max(patience_s, MIN_PATIENCE_S)
        self._turns = {where: asyncio.Lock() for where in budgets or ()}  # first come, first served
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Says that a lease ended or a model changed its state."""
        self._changed.set()
        self._changed = asyncio.Event()

    def release(self, slot: Slot) -> None:
        """Gives back what a model held. One that sleeps will wake where it is."""
        slot.reserved_bytes = 0
        if not slot.asleep:
            slot.places = ()
        self.notify()

    async def reserve(self, slot: Slot, needed_bytes: int, *, stay: bool = False) -> None:
        """Returns once the model has its devices and its memory is reserved; unloads others where that is needed.

        Args:
            slot: The model; its `places` and `reserved_bytes` are set.
            needed_bytes: Of all its devices together.
            stay: Only where it was.

        Raises:
            OutOfMemory: It can never fit; at once, with the numbers.
            ModelLoadFailed: This machine has not the devices that it asks for.
        """
        if self._budgets is None:
            slot.reserved_bytes = needed_bytes
            return
        choice, count = self._choice(slot, self._budgets)
        if stay:
            choice = slot.places
        async with AsyncExitStack() as turns:
            for where, turn in self._turns.items():  # in the same order always, so that nobody waits in a circle
                if where in choice:
                    await turns.enter_async_context(turn)
            asked = time.monotonic()
            while not await self._try(slot, -(-needed_bytes // count), count, choice, asked):
                pass

    async def evict_idle(self, beside: Slot) -> bool:
        """Unloads every model that nobody uses and that shares a device with this one; whether there was one."""
        idle = [
            slot
            for slot in self._residents()
            if (seen := slot.resident()).evictable and not seen.busy and _share(slot.places, beside.places)
        ]
        await asyncio.gather(*(self._evict(slot) for slot in idle))
        return bool(idle)

    def gpus_of(self, slot: Slot) -> tuple[int, ...] | None:
        """GPUs that a model has been given; none: it is on the CPU; None: nobody counts, or there are none to give."""
        if self._budgets is None:
            return slot.entry.devices
        if not any(where is not None for where in self._budgets):
            return None
        return tuple(where for where in slot.places if where is not None)

    @staticmethod
    def _choice(slot: Slot, budgets: Mapping[Place, int]) -> tuple[tuple[Place, ...], int]:
        """(devices that a model may live on, how many of them it takes)."""
        entry = slot.entry
        gpus = tuple(where for where in budgets if where is not None)
        if entry.devices is None and (entry.options.get("device") == "cpu" or not gpus):
            return (None,), 1
        wanted, count = entry.devices or gpus, int(entry.options.get("tensor_parallel_size", 1))
        if absent := sorted(set(wanted) - set(gpus)):
            there = f"the GPUs {', '.join(map(str, gpus))}" if gpus else "no GPU"
            raise ModelLoadFailed(f"The model {slot.name!r} is to run on GPU {absent[0]}; this machine has {there}.")
        if count > len(wanted):
            raise ModelLoadFailed(f"The model {slot.name!r} takes {count} GPUs; it may use {len(wanted)}.")
        return wanted, count

    def _residents(self) -> list[Slot]:
        return [slot for slot in self._slots.values() if slot.reserved_bytes or slot.adapter is not None]

    def _ledger(self, where: Place, budget: int) -> Ledger:
        here = [one for one in self._residents() if where in one.places and one.reserved_bytes]
        pinned = sum(one.resident().size_bytes for one in here if one.entry.pin)
        return Ledger(where, budget, tuple(one.resident() for one in here), pinned)

    async def _try(self, slot: Slot, needed: int, count: int, choice: Collection[Place], asked: float) -> bool:
        changed = self._changed
        ledgers = [self._ledger(where, budget) for where, budget in (self._budgets or {}).items() if where in choice]
        placement = place(needed, count, ledgers)
        found = placement.plan
        if not found.possible:
            raise OutOfMemory(
                f"The model {slot.name!r} needs about {needed / GIB:.2f} GiB"
                f"{f' on each of {count} GPUs' if count > 1 else ''}; the budget is {_told(ledgers)}."
            )
        if found.fits:
            slot.reserved_bytes, slot.places = needed * count, placement.places
            return True
        victims = [self._slots[name] for name in found.victims]
        spared_s = max((self._spared_s(victim, asked) for victim in victims), default=None)
        if spared_s is not None and spared_s <= 0:
            await asyncio.gather(*(self._evict(victim) for victim in victims))
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), spared_s)
        return False

    def _spared_s(self, victim: Slot, asked: float) -> float:
        """Seconds that a model is still let alone. Even a new one serves those who waited for it to be loaded."""
        if not victim.resident().busy:
            return 0.0
        return max(asked, victim.ready_at) + self._patience_s - time.monotonic()


def _share(one: Collection[Place], other: Collection[Place]) -> bool:
    """Whether two models share a device; so it is taken where nobody counts."""
    return not one or not other or not set(one).isdisjoint(other)


def _told(ledgers: Sequence[Ledger]) -> str:
    """Budgets, for people: "9.00 GiB", or "22.00 GiB on GPU 0, 14.00 GiB on GPU 1"."""
    told: list[str] = []
    for ledger in ledgers:
        where = f" on GPU {ledger.place}" if ledger.place is not None else ""
        pinned = f", of which pinned models hold {ledger.pinned_bytes / GIB:.2f} GiB" if ledger.pinned_bytes else ""
        told.append(f"{ledger.budget_bytes / GIB:.2f} GiB{where}{pinned}")
    return "; ".join(told) if any("," in one for one in told) else ", ".join(told)
