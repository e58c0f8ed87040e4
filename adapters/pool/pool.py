"""The models of this server: loaded on first use, leased to requests, unloaded when nobody uses them.

    unloaded ──▶ loading ──▶ ready ──▶ draining ──▶ unloading ──▶ unloaded
                    │          │
                    ▼          ▼ (its process died)
                  failed ◀─────┘        the next lease tries again

Who wants a model leases it; the decision whether it can be had is made inside the state machine, so no caller checks
and then acts. A leased model is never unloaded. All of this runs in one event loop and needs no locks but one per
model, which makes loading and unloading wait for each other.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

from adapters import registry
from adapters.base import Adapter, Kind, ModelFiles, Report
from adapters.catalog.catalog import ModelEntry, Profile
from adapters.errors import (
    AdapterError,
    Interrupted,
    ModelLoadFailed,
    OutOfMemory,
)
from adapters.pool.admission import Admission
from adapters.pool.components import fetch_parts, parts_bytes
from adapters.pool.eviction import Place
from adapters.pool.lease import Lease
from adapters.pool.load_log import logged
from adapters.pool.resolve import Names
from adapters.pool.slot import Slot
from adapters.process.memory_usage import MemoryTrimmer
from adapters.process.remote import PROXIES

Estimate = Callable[[ModelEntry, Path], int]
"""Bytes that a model will hold once it is loaded, on all its devices together, from its files."""
Fetch = Callable[[str, ModelEntry, Report], Awaitable[Path]]
"""Brings a model's files onto this machine: (name, entry, report) to the checkpoint's directory."""

A = TypeVar("A", bound=Adapter)
T = TypeVar("T")
log = logging.getLogger(__name__)

TEND_S = 1.0
"""Between two looks for idle models."""


class Pool:
    """Serves the models of one profile."""

    def __init__(
        self,
        models: Mapping[str, ModelEntry],
        profile: Profile,
        fetch: Fetch,
        *,
        fallback: bool = False,
        budgets: Mapping[Place, int] | None = None,
        estimate: Estimate | None = None,
        patience_s: float = 5.0,
        idle_ttl_s: float | None = None,
    ) -> None:
        """A pool in which nothing is loaded yet.

        Args:
            models: Catalog entries by name; those of the profile are served.
            profile: Which, in which order, under which aliases.
            fetch: Brings files.
            fallback: Whether an unknown name reaches the first model of the kind that is asked for.
            budgets: Memory of the models on each GPU and in RAM; None: without limit.
            estimate: What a model will need; None: nothing is known, and everything fits.
            patience_s: How long a model in use is spared while another waits for its memory.
            idle_ttl_s: Models that were not used for so long are unloaded; None: never. An entry's own goes before.
        """
        self._models = models
        self._slots = {name: Slot(name, models[name]) for name in profile.models}
        self._aliases = dict(profile.aliases)
        self._names = Names(self._slots, self._aliases, fallback=fallback)
        self._fetch = fetch
        self._estimate = estimate
        self._idle_ttl_s = idle_ttl_s
        self._trimmer = MemoryTrimmer()
        self.admission = Admission(budgets, self.slots, self._make_way, patience_s)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All served models, in the profile's order. To read, not to change."""
        return tuple(self._slots.values())

    @property
    def aliases(self) -> Mapping[str, str]:
        """Other names, and what they mean."""
        return self._aliases

    def find(self, name: str, adapter: type[Adapter] | None = None, *, kind: Kind | None = None) -> Slot:
        """The model that a name means. See `Names.find`."""
        return self._names.find(name, adapter, kind=kind)

    def lease(self, name: str, adapter: type[A]) -> Lease[A]:
        """The loaded model, for as long as the context lasts; loads it first where that is needed.

        Raises:
            ModelNotFound, WrongModelKind: As `find`.
            ModelBusy: Too many leases of it already.
            Interrupted: It failed again and again, and rests for a while.
            ModelLoadFailed, OutOfMemory: It could not be loaded.
        """
        return Lease(self.find(name, adapter), adapter, self._ready, self.admission.notify)

    async def stream(self, name: str, adapter: type[A], work: Callable[[A], AsyncGenerator[T]]) -> AsyncGenerator[T]:
        """The events of work on a leased model; closing the generator stops the work and ends the lease.

        Work that runs out of memory before its first event is tried once more, after idle models beside it have gone.
        """
        for last in (False, True):
            async with self.lease(name, adapter) as model:
                try:
                    events = work(model)
                    first = await anext(events)
                except StopAsyncIteration:
                    return
                except OutOfMemory:
                    if last or not await self.admission.evict_idle(self.find(name, adapter)):
                        raise
                    continue
                async with aclosing(events):
                    yield first
                    async for event in events:
                        yield event
                    return

    async def load(self, name: str) -> None:
        """Loads a model that no request has asked for yet. Raises as `lease`."""
        slot = self.find(name)
        await self._ready(slot)

    async def unload(self, name: str) -> None:
        """Unloads a model once nobody uses it; requests that come meanwhile wait and then load it anew."""
        await self._evict(self.find(name))

    async def tend(self) -> None:
        """Unloads models that nobody has used for their idle time; runs for as long as the pool does."""
        while True:
            await asyncio.sleep(TEND_S)
            for slot in self.slots:
                ttl_s = slot.entry.idle_ttl_s or self._idle_ttl_s
                seen = slot.resident()
                if ttl_s is not None and seen.evictable and not seen.busy and seen.idle_s > ttl_s:
                    log.info("%s was idle for %.0f s", slot.name, seen.idle_s)
                    await self._evict(slot)

    async def aclose(self) -> None:
        """Ends all models now, whatever they do."""
        await asyncio.gather(*(self._close(slot) for slot in self.slots))
        self._trimmer.stop()

    async def _close(self, slot: Slot) -> None:
        if slot.loading is not None:
            slot.loading.cancel()
            await asyncio.wait([slot.loading])
        await self._discard(slot)

    async def _ready(self, slot: Slot) -> Adapter:
        if slot.adapter is not None and slot.state == "ready" and slot.adapter.alive:
            return slot.adapter
        if slot.adapter is not None and slot.state == "ready" and not slot.adapter.alive and slot.loading is None:
            slot.fail()
        if slot.loading is None and (rest_s := slot.rest_s()) > 0:
            raise Interrupted(
                f"The model {slot.name!r} failed {slot.failures} times in a row; it is tried again in {rest_s:.0f} s."
            )
        if slot.loading is None:
            # A task of its own: the request that asked first may go away, the others still wait for the model.
            slot.loading = asyncio.create_task(self._load(slot))
            slot.loading.add_done_callback(lambda task: self._loaded(slot, task))
        loading = slot.loading
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            if not loading.cancelled():
                raise  # we were cancelled, not the loading
            raise ModelLoadFailed("The server is shutting down.") from None

    @staticmethod
    def _loaded(slot: Slot, task: asyncio.Task[Adapter]) -> None:
        slot.loading = None
        if not task.cancelled() and (error := task.exception()) is not None:  # perhaps nobody waits any more
            log.error("loading %s failed: %s", slot.name, error, exc_info=error.__cause__)

    async def _load(self, slot: Slot) -> Adapter:
        async with slot.lock:
            if slot.adapter is not None and slot.adapter.alive:
                if not slot.asleep:
                    slot.state = "ready"
                    return slot.adapter
            else:
                await self._discard(slot)
            slot.state = "loading"
        # From here to the loading itself without the lock: to wait for memory is to wait for others' locks.
        try:
            return await (self._wake(slot) if slot.asleep else self._bring(slot))
        except BaseException as error:
            self.admission.release(slot)
            slot.state = "failed"
            if not isinstance(error, asyncio.CancelledError | OutOfMemory):
                slot.fail()
            if isinstance(error, AdapterError | asyncio.CancelledError):
                raise
            raise ModelLoadFailed(f"The model {slot.name!r} could not be loaded.") from error

    async def _bring(self, slot: Slot) -> Adapter:
        """Files, then memory, then the model itself."""
        log.info("loading %s", slot.name)
        report = logged(slot.name, log)
        path = await self._fetch(slot.name, slot.entry, report)
        parts = await fetch_parts(slot.name, slot.entry, self._models, self._fetch, report)
        if self._estimate:
            slot.estimated_bytes = self._estimate(slot.entry, path)
            if parts:
                slot.estimated_bytes += await asyncio.to_thread(parts_bytes, slot.entry, path, parts)
        await self.admission.reserve(slot, max(slot.estimated_bytes or 0, slot.peak_bytes or 0))
        gpus = self.admission.gpus_of(slot)
        files = ModelFiles(slot.name, slot.entry.backend, str(path), slot.entry.options, gpus, parts)
        row = registry.BACKENDS[files.backend]
        backend: type[Any] = (
            PROXIES[slot.entry.kind] if row.process == "child" else registry.implementation(files.backend)
        )
        async with slot.lock:
            begun = time.monotonic()
            slot.adapter = await backend.load(files, report)
            slot.used_at = slot.ready_at = time.monotonic()
            slot.load_s = slot.used_at - begun
            slot.state = "ready"
        slot.measure()
        self.admission.notify()
        log.info("loaded %s in %.1f s", slot.name, slot.load_s)
        assert slot.adapter is not None
        return slot.adapter

    async def _wake(self, slot: Slot) -> Adapter:
        """Memory where it sleeps, then the model as it was."""
        try:
            await self.admission.reserve(slot, max(slot.estimated_bytes or 0, slot.peak_bytes or 0), stay=True)
        except OutOfMemory:  # pinned models have taken its device; there may be others
            async with slot.lock:
                await self._discard(slot)
                slot.state = "loading"
            return await self._bring(slot)
        async with slot.lock:
            if slot.adapter is None or not slot.asleep:
                raise Interrupted(f"The model {slot.name!r} was unloaded meanwhile.")
            await slot.adapter.wake()
            slot.asleep = False
            slot.used_at = slot.ready_at = time.monotonic()
            slot.state = "ready"
        log.info("woke %s", slot.name)
        return slot.adapter

    async def _evict(self, slot: Slot, *, may_sleep: bool = False) -> None:
        async with slot.lock:
            if slot.adapter is None or (slot.asleep and may_sleep):
                return
            slot.state = "draining"
            try:
                await slot.idle.wait()
            except asyncio.CancelledError:
                slot.state = "ready"
                raise
            if may_sleep and slot.adapter.alive and await slot.adapter.sleep():
                slot.asleep, slot.state = True, "unloaded"
                self.admission.release(slot)
                log.info("%s sleeps", slot.name)
            else:
                await self._discard(slot)

    async def _make_way(self, slot: Slot) -> None:
        """Gives a model's memory to others: it sleeps, where it can, or is unloaded."""
        await self._evict(slot, may_sleep=True)

    async def _discard(self, slot: Slot) -> None:
        adapter, slot.adapter, slot.asleep = slot.adapter, None, False
        if adapter is not None:
            slot.state = "unloading"
            try:
                await adapter.unload()
            except Exception:  # whoever wants its memory is not to blame, and the slot must not stay half-way
                log.exception("unloading %s failed", slot.name)
            log.info("unloaded %s", slot.name)
            self._trimmer.request()
        slot.state = "unloaded"
        self.admission.release(slot)
