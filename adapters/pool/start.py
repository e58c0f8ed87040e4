"""Starting a model whose files are here and whose memory is reserved."""

import errno
import logging
import time
from dataclasses import replace

from adapters import registry
from adapters.base import Adapter, ModelFiles, Report
from adapters.errors import Interrupted, OutOfMemory
from adapters.pool.admission import Admission
from adapters.pool.slot import Slot
from adapters.process.remote import PROXIES

NO_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN})
log = logging.getLogger(__name__)


def raise_if_temporary(error: BaseException, name: str) -> None:
    """Raises `Interrupted` for what may work in a moment: the process had no descriptors or processes left."""
    if isinstance(error, OSError) and error.errno in NO_RESOURCES:
        raise Interrupted(
            f"The model {name!r} could not be loaded: the server has too many open files or processes. Send the "
            "request again in a few seconds."
        ) from error


async def start_adapter(slot: Slot, files: ModelFiles, report: Report, admission: Admission) -> Adapter:
    """Loads a model. If memory runs out, its cache shrinks to the least size and idle models are evicted, once.

    Args:
        slot: The model.
        files: Its files.
        report: Called with the progress.
        admission: Evicts other models.

    Raises:
        AdapterError: What `Adapter.load` raises.
    """
    in_child = registry.BACKENDS[files.backend].process == "child"
    backend: type[Adapter] = PROXIES[slot.entry.kind] if in_child else registry.implementation(files.backend)
    started = time.monotonic()
    grown = slot.cache_bytes // max(1, len(slot.devices))
    try:
        adapter = await backend.load(replace(files, cache_bytes=grown or None), report)
    except OutOfMemory:
        slot.reserved_bytes -= slot.cache_bytes
        slot.cache_bytes = 0
        if not await admission.evict_idle(slot) and not grown:
            raise
        log.warning("%s ran out of memory while it was loaded: trying again", slot.name)
        started = time.monotonic()
        adapter = await backend.load(replace(files, cache_bytes=None), report)
    slot.used_at = slot.ready_at = time.monotonic()
    slot.load_s = slot.used_at - started
    return adapter
