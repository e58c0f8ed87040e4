"""The models of this server: loaded on first use, leased to requests, unloaded when idle.

    unloaded ──▶ loading ──▶ ready ──▶ draining ──▶ unloading ──▶ unloaded
                    │          │
                    ▼          ▼ (its process died)
                  failed ◀─────┘        the next lease tries again

A request leases the model that it needs. The state machine alone decides whether it gets it, so no caller checks a
state and then acts on it. A leased model is never unloaded. All of this runs in one event loop; the only locks are
one per model, so that loading and unloading wait for each other.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from adapters import registry
from adapters.base import Adapter, Kind, ModelFiles, Report
from adapters.catalog.catalog import ModelEntry, Profile
from adapters.errors import (
    AdapterError,
    GenerationFailed,
    Interrupted,
    ModelLoadFailed,
    OutOfMemory,
)
from adapters.memory.estimate import local_path
from adapters.memory.placement import Budgets
from adapters.pool.admission import Admission
from adapters.pool.components import components_bytes, fetch_components
from adapters.pool.lease import Lease
from adapters.pool.load_log import log_progress
from adapters.pool.resolve import Fallback, Names
from adapters.pool.slot import Slot
from adapters.pool.start import raise_if_temporary, start_adapter
from adapters.process.memory_usage import MemoryTrimmer

Estimate = Callable[[ModelEntry, Path | None], int]
"""Bytes that a model will hold once it is loaded, on all its devices together, from its files; 0: unknown."""
CacheLimit = Callable[[ModelEntry, Path], int]
"""Bytes on each GPU beyond which a larger cache is of no use to a model, in addition to its least cache."""
Fetch = Callable[[str, ModelEntry, Report], Awaitable[Path]]
"""Fetches a model's files: (name, entry, report) to the checkpoint's directory on this machine."""

A = TypeVar("A", bound=Adapter)
T = TypeVar("T")
log = logging.getLogger(__name__)

IDLE_CHECK_S = 1.0
"""Time between two checks for idle models."""


class Pool:
    """Serves the models of one profile."""

    def __init__(
        self,
        models: Mapping[str, ModelEntry],
        profile: Profile,
        fetch: Fetch,
        *,
        fallback: Fallback = "off",
        budgets: Budgets | None = None,
        estimate: Estimate | None = None,
        cache_limit: CacheLimit | None = None,
        grace_s: float = 5.0,
        idle_ttl_s: float | None = None,
    ) -> None:
        """A pool in which nothing is loaded yet.

        Args:
            models: Catalog entries by name; those of the profile are served.
            profile: The served models, their order and their aliases.
            fetch: Fetches the files of a model.
            fallback: Which unknown names refer to the first model of the requested kind.
            budgets: Memory of the models on each GPU and in RAM; None: no limit.
            estimate: The memory that a model will need; None: every model is assumed to fit.
            cache_limit: How far caches may grow; None: they keep their least size.
            grace_s: How long a model in use is kept while another waits for its memory.
            idle_ttl_s: Models that were not used for this long are unloaded; None: never. An entry's own value wins.
        """
        self.models = models
        """The catalog's entries, by name."""
        self._slots = {name: Slot(name, models[name]) for name in profile.models}
        self._aliases = dict(profile.aliases)
        self._names = Names(self._slots, self._aliases, fallback=fallback)
        self._fetch = fetch
        self._estimate = estimate
        self._cache_limit = cache_limit
        self._idle_ttl_s = idle_ttl_s
        self._trimmer = MemoryTrimmer()
        self.admission = Admission(budgets, self.slots, self._free_memory, grace_s)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All served models, in the profile's order. Read only."""
        return tuple(self._slots.values())

    @property
    def aliases(self) -> Mapping[str, str]:
        """Other names of models, to their names."""
        return self._aliases

    def find(self, name: str, adapter: type[Adapter] | None = None, *, kind: Kind | None = None) -> Slot:
        """The model that a name refers to. See `Names.find`."""
        return self._names.find(name, adapter, kind=kind)

    def lease(self, name: str, adapter: type[A]) -> Lease[A]:
        """The loaded model, for as long as the context lasts; it is loaded first where needed.

        Raises:
            ModelNotFound, WrongModelKind: As `find`.
            ModelBusy: It has too many leases.
            Interrupted: It failed several times, and its next attempt is later.
            ModelLoadFailed, OutOfMemory: It could not be loaded.
        """
        return Lease(self.find(name, adapter), adapter, self._ready, self.admission.notify)

    async def stream(self, name: str, adapter: type[A], work: Callable[[A], AsyncGenerator[T]]) -> AsyncGenerator[T]:
        """The events of work on a leased model. Closing the generator stops the work and ends the lease.

        Work that runs out of memory before its first event is retried once, after evicting idle models on its devices.
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

    async def load(self, name: str, entry: ModelEntry | None = None) -> None:
        """Loads a model before any request needs it, from now on as `entry` says, if given. Raises as `lease`."""
        slot = self.find(name)
        if entry is not None and entry != slot.entry:
            await self._evict(slot)
            slot.entry, slot.estimated_bytes, slot.peak_bytes = entry, None, None
        await self._ready(slot)

    async def unload(self, name: str) -> None:
        """Unloads a model once it is idle; requests that arrive meanwhile wait, and then load it again."""
        await self._evict(self.find(name))

    async def unload_idle(self) -> None:
        """Unloads models whose idle time has passed; runs until it is cancelled."""
        while True:
            await asyncio.sleep(IDLE_CHECK_S)
            for slot in self.slots:
                ttl_s = slot.entry.idle_ttl_s or self._idle_ttl_s
                found = slot.resident()
                if ttl_s is not None and found.evictable and not found.busy and found.idle_s > ttl_s:
                    log.info("%s was idle for %.0f s", slot.name, found.idle_s)
                    await self._evict(slot)

    async def aclose(self) -> None:
        """Unloads all models now; running requests end in `Interrupted`."""
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
            slot.record_failure()
        if slot.loading is None and (backoff_s := slot.backoff_s()) > 0:
            raise Interrupted(
                f"The model {slot.name!r} failed {slot.failures} times in a row; "
                f"send the request again in {backoff_s:.0f} s."
            )
        if slot.loading is None:
            # A task of its own: the first request may be cancelled while others still wait for the model.
            slot.loading = asyncio.create_task(self._load(slot))
            slot.loading.add_done_callback(lambda task: self._loaded(slot, task))
        loading = slot.loading
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            if not loading.cancelled():
                raise  # this request was cancelled, not the loading
            raise ModelLoadFailed("The server is shutting down.") from None

    @staticmethod
    def _loaded(slot: Slot, task: asyncio.Task[Adapter]) -> None:
        slot.loading = None
        if not task.cancelled() and (error := task.exception()) is not None:  # maybe no request waits any more
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
        # Not under the lock: waiting for memory is waiting for the locks of other models.
        try:
            return await (self._wake(slot) if slot.asleep else self._load_from_files(slot))
        except BaseException as error:
            self.admission.release(slot)
            slot.state = "failed"
            raise_if_temporary(error, slot.name)
            if not isinstance(error, asyncio.CancelledError | OutOfMemory):
                slot.record_failure()
            # A child process reports an exception of its library as GenerationFailed, also while it loads.
            if isinstance(error, AdapterError | asyncio.CancelledError) and not isinstance(error, GenerationFailed):
                raise
            raise ModelLoadFailed(
                f"The model {slot.name!r} could not be loaded; the server's log has the cause."
            ) from error

    async def _load_from_files(self, slot: Slot) -> Adapter:
        """Fetches the files, reserves the memory, loads the model."""
        log.info("loading %s", slot.name)
        report = log_progress(slot.name, log)
        if absent := registry.missing(slot.entry.backend):
            raise ModelLoadFailed(absent)
        path = await self._fetch(slot.name, slot.entry, report)
        components = await fetch_components(slot.name, slot.entry, self.models, self._fetch, report)
        if self._estimate:
            slot.estimated_bytes = self._estimate(slot.entry, path)
            if components:
                slot.estimated_bytes += await asyncio.to_thread(components_bytes, slot.entry, path, components)
        await self.admission.reserve(slot, slot.needed_bytes)
        row = registry.BACKENDS[slot.entry.backend]
        if row.cache_grows and self._estimate and self._cache_limit:
            entries = {one.name: one.entry for one in self.slots}
            needs = {
                one.name: one.needed_bytes or self._estimate(one.entry, local_path(one.entry)) for one in self.slots
            }
            self.admission.grow_cache(slot, entries, needs, self._cache_limit(slot.entry, path))
        gpus = self.admission.gpus_of(slot)
        files = ModelFiles(slot.name, slot.entry.backend, str(path), slot.entry.options, gpus, components)
        async with slot.lock:
            slot.adapter = await start_adapter(slot, files, report, self.admission)
            slot.state = "ready"
        slot.measure()
        self.admission.notify()
        log.info("loaded %s in %.1f s", slot.name, slot.load_s)
        return slot.adapter

    async def _wake(self, slot: Slot) -> Adapter:
        """Reserves memory on its devices, then wakes the model."""
        try:
            await self.admission.reserve(slot, slot.needed_bytes + slot.cache_bytes, stay=True)
        except OutOfMemory:  # pinned models hold its devices; others may be free
            async with slot.lock:
                await self._discard(slot)
                slot.state = "loading"
            return await self._load_from_files(slot)
        async with slot.lock:
            if slot.adapter is None or not slot.asleep:
                raise Interrupted(f"The model {slot.name!r} was unloaded in the meantime; send the request again.")
            await slot.adapter.wake()
            slot.asleep, slot.asleep_bytes, slot.ram_bytes = False, 0, 0
            slot.used_at = slot.ready_at = time.monotonic()
            slot.state = "ready"
        log.info("woke %s", slot.name)
        return slot.adapter

    async def _evict(self, slot: Slot, *, may_sleep: bool = False) -> None:
        async with slot.lock:
            if slot.adapter is None:
                return
            slot.state = "draining"
            try:
                await slot.idle.wait()
            except asyncio.CancelledError:
                slot.state = "ready"
                raise
            if may_sleep and not slot.asleep and await self._sleep(slot, slot.adapter):
                log.info("%s sleeps", slot.name)
            else:
                await self._discard(slot)

    async def _sleep(self, slot: Slot, adapter: Adapter) -> bool:
        """Has a model sleep, if it can and RAM has room for its weights."""
        if not (adapter.alive and self.admission.may_sleep(slot) and await adapter.sleep()):
            return False
        slot.asleep, slot.state = True, "unloaded"
        held = await asyncio.to_thread(slot.held_bytes)
        self.admission.fell_asleep(slot, adapter.asleep_bytes * len(slot.devices) if held is None else held)
        return True

    async def _free_memory(self, slot: Slot) -> None:
        """Frees a model's memory for others: it sleeps, if it can, or is unloaded."""
        await self._evict(slot, may_sleep=True)

    async def _discard(self, slot: Slot) -> None:
        adapter, slot.adapter, slot.asleep = slot.adapter, None, False
        if adapter is not None:
            slot.state = "unloading"
            try:
                await adapter.unload()
            except Exception:  # must fail neither the model that needs the memory nor this slot
                log.exception("unloading %s failed", slot.name)
            log.info("unloaded %s", slot.name)
            self._trimmer.request()
        slot.state = "unloaded"
        self.admission.release(slot)
