"""Memory admission: models that are to be loaded wait here, in order, until their devices have room for them.

Every device has its own budget, and one model at a time is admitted to it. A model in use is not evicted before another
has waited `grace_s` for its memory, and not before it has itself been ready for that long. Until then requests for it
are still served, so that a swap follows a batch of requests instead of every single one. After that it drains: running
requests finish, new ones wait, and no model starves.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress

from adapters.catalog.catalog import ModelEntry
from adapters.errors import OutOfMemory
from adapters.hardware import DeviceIndex
from adapters.memory.placement import Budgets, allowed_devices, spare_bytes, too_large
from adapters.pool.eviction import DeviceMemory, choose_devices
from adapters.pool.slot import Slot

MIN_GRACE_S = 0.05
"""Requests that waited for a load need a moment to lease the model; without it, two models could swap for ever."""


class Admission:
    """The budgets of all devices, and the models that share them."""

    def __init__(
        self,
        budgets: Budgets | None,
        slots: Sequence[Slot],
        evict: Callable[[Slot], Awaitable[None]],
        grace_s: float,
    ) -> None:
        """Nothing is reserved yet.

        Args:
            budgets: Bytes of the models on each device; None: no limit, and models choose their devices themselves.
            slots: All models.
            evict: Drains and unloads one model.
            grace_s: How long a model in use is kept while another waits for its memory.
        """
        self.budgets = budgets
        self._slots = {slot.name: slot for slot in slots}
        self._evict = evict
        self._grace_s = max(grace_s, MIN_GRACE_S)
        self._locks = {index: asyncio.Lock() for index in budgets or ()}  # first come, first served
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Wakes the waiting models: a lease ended, or a model changed its state."""
        self._changed.set()
        self._changed = asyncio.Event()

    def release(self, slot: Slot) -> None:
        """Releases a model's memory. A sleeping model keeps its devices, since it wakes there, and some memory."""
        slot.reserved_bytes = slot.asleep_bytes if slot.asleep else 0
        slot.cache_bytes = slot.cache_bytes if slot.asleep else 0
        if not slot.asleep:
            slot.devices, slot.ram_bytes = (), 0
        self.notify()

    def may_sleep(self, slot: Slot) -> bool:
        """Whether RAM has room for the weights of a model that sleeps."""
        if self.budgets is None or None in slot.devices or None not in self.budgets:
            return True
        return self._device(None, self.budgets[None]).free_bytes >= slot.reserved_bytes

    def fell_asleep(self, slot: Slot, held_bytes: int) -> None:
        """Keeps what a model that sleeps still holds.

        Args:
            slot: The model.
            held_bytes: On all its devices together.
        """
        slot.asleep_bytes = min(held_bytes, slot.reserved_bytes)
        slot.ram_bytes = 0 if None in slot.devices else slot.reserved_bytes - slot.asleep_bytes
        self.release(slot)

    def grow_cache(self, slot: Slot, entries: Mapping[str, ModelEntry], needs: Mapping[str, int], limit: int) -> None:
        """Reserves what the budget leaves on GPUs beside all served models, for a larger cache.

        Args:
            slot: A model whose memory was reserved.
            entries: All served models.
            needs: Bytes of each; 0: unknown.
            limit: Bytes on each GPU beyond which a larger cache is of no use.
        """
        if self.budgets is None or None in slot.devices or not slot.devices:
            return
        free = min(self._device(index, self.budgets[index]).free_bytes for index in slot.devices)
        share = min(limit, free, spare_bytes(slot.name, entries, needs, slot.devices, self.budgets))
        slot.cache_bytes = max(0, share) * len(slot.devices)
        slot.reserved_bytes += slot.cache_bytes

    async def reserve(self, slot: Slot, needed_bytes: int, *, stay: bool = False) -> None:
        """Waits until the model has its devices and its memory is reserved; evicts other models where needed.

        Args:
            slot: The model; its `devices` and `reserved_bytes` are set.
            needed_bytes: Of all its devices together.
            stay: Only on the devices that it had before.

        Raises:
            OutOfMemory: It can never fit; raised at once, with the numbers.
            ModelLoadFailed: This machine does not have the devices that its entry asks for.
        """
        if self.budgets is None:
            slot.reserved_bytes = needed_bytes
            return
        allowed, count = allowed_devices(slot.name, slot.entry, self.budgets)
        if stay:
            allowed = slot.devices
        async with AsyncExitStack() as locks:
            for index, lock in self._locks.items():  # always in the same order, which prevents deadlocks
                if index in allowed:
                    await locks.enter_async_context(lock)
            started = time.monotonic()
            while not await self._try(slot, -(-needed_bytes // count), count, allowed, started):
                pass

    async def evict_idle(self, beside: Slot) -> bool:
        """Evicts all idle models that share a device with this one; returns whether there were any."""
        idle = [
            slot
            for slot in self._residents()
            if (found := slot.resident()).evictable and not found.busy and _share(slot.devices, beside.devices)
        ]
        await asyncio.gather(*(self._evict(slot) for slot in idle))
        return bool(idle)

    def gpus_of(self, slot: Slot) -> tuple[int, ...] | None:
        """GPUs of a model; empty: it is on the CPU; None: there is no budget, or this machine has no GPU."""
        if self.budgets is None:
            return slot.entry.devices
        if not any(index is not None for index in self.budgets):
            return None
        return tuple(index for index in slot.devices if index is not None)

    def _residents(self) -> list[Slot]:
        return [slot for slot in self._slots.values() if slot.reserved_bytes or slot.adapter is not None]

    def _device(self, index: DeviceIndex, budget: int, beside: Slot | None = None) -> DeviceMemory:
        here = [one for one in self._slots.values() if one is not beside and one.holds(index)]
        pinned = sum(one.resident(index).size_bytes for one in here if one.entry.pin)
        return DeviceMemory(index, budget, tuple(one.resident(index) for one in here), pinned)

    async def _try(self, slot: Slot, needed: int, count: int, allowed: Collection[DeviceIndex], started: float) -> bool:
        """Reserves the memory if it is free; otherwise evicts models or waits for a change, and returns False."""
        changed = self._changed
        devices = [
            self._device(index, budget, slot) for index, budget in (self.budgets or {}).items() if index in allowed
        ]
        placement = choose_devices(needed, count, devices)
        plan = placement.plan
        if not plan.possible:
            budgets = {device.index: device.budget_bytes for device in devices}
            pinned = {device.index: device.pinned_bytes for device in devices}
            raise OutOfMemory(too_large(slot.name, needed, count, budgets, pinned))
        if plan.fits:
            slot.reserved_bytes, slot.devices = needed * count, placement.devices
            return True
        victims = [self._slots[name] for name in plan.victims]
        wait_s = max((self._grace_left_s(victim, started) for victim in victims), default=None)
        if wait_s is not None and wait_s <= 0:
            await asyncio.gather(*(self._evict(victim) for victim in victims))
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), wait_s)
        return False

    def _grace_left_s(self, victim: Slot, started: float) -> float:
        """Seconds until a model may be evicted. A model that was just loaded first serves the requests for it."""
        if not victim.resident().busy:
            return 0.0
        return max(started, victim.ready_at) + self._grace_s - time.monotonic()


def _share(one: Collection[DeviceIndex], other: Collection[DeviceIndex]) -> bool:
    """Whether two models share a device. Without budgets the devices are unknown, and they are assumed to."""
    return not one or not other or not set(one).isdisjoint(other)
