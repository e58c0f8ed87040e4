"""The files of the served models, for the routes: fetch, verify, list, remove."""

import asyncio
import threading
from dataclasses import asdict
from pathlib import Path

from adapters.base import Report
from adapters.loader import cache, verification
from adapters.loader.fetch import fetch, locate
from adapters.pool.pool import Pool
from adapters.pool.slot import Slot
from adapters.video.inputs import VideoInputs, inputs_of
from compat import model_files
from compat.errors import RequestError


class Store:
    """The models' files on this machine."""

    def __init__(self, cache_dir: Path, pool: Pool) -> None:
        """A view of a cache directory that may not exist yet."""
        self._cache_dir = cache_dir
        self._pool = pool

    async def fetch(self, slot: Slot, report: Report) -> Path:
        """Brings a model's files here. Raises as `adapters.loader.fetch.fetch`."""
        return await fetch(
            slot.name, slot.entry.sources, self._cache_dir, report, backend=slot.entry.backend, to_load=False
        )

    def require_sources(self, slot: Slot) -> None:
        """Lets through a model that has files.

        Raises:
            RequestError: 400.
        """
        if not slot.entry.sources:
            raise RequestError(f"The model {slot.name!r} has no files.", param="model", code="model_has_no_files")

    async def verify(self, slot: Slot) -> model_files.ModelVerification:
        """Reads all files of a model.

        Raises:
            RequestError: 404, where they are not here.
        """
        self.require_sources(slot)
        path = await asyncio.to_thread(locate, slot.name, slot.entry.sources, self._cache_dir)
        if path is None:
            raise RequestError(
                f"The model {slot.name!r} is not in the cache; POST /v1/models/{slot.name}/download fetches it.",
                code="model_not_cached",
                status=404,
            )
        stopped = threading.Event()
        try:
            found = await asyncio.to_thread(verification.verify, path, verification.stoppable(stopped.is_set))
        finally:
            stopped.set()
        return model_files.render_verification(slot.name, **asdict(found))

    async def video_inputs(self, model: str) -> VideoInputs | None:
        """What a video model takes beside words; None: nobody can tell before it is loaded, or it is not served.

        Args:
            model: Its own name, and no alias.
        """
        slot = next((slot for slot in self._pool.slots if slot.name == model), None)
        return None if slot is None else await asyncio.to_thread(self._video_inputs, slot)

    def _video_inputs(self, slot: Slot) -> VideoInputs | None:
        path = locate(slot.name, slot.entry.sources, self._cache_dir)
        return None if path is None else inputs_of(slot.entry.backend, path)

    async def page(self) -> model_files.CachedModelList:
        """All models of the cache."""
        found = await asyncio.to_thread(cache.list_cached, self._cache_dir)
        return model_files.CachedModelList(
            [
                model_files.render_cached(
                    model.name,
                    size_bytes=model.size_bytes,
                    downloaded_at=model.downloaded_at,
                    last_accessed_at=model.last_accessed_at,
                    source=model.source,
                    commit=model.commit,
                )
                for model in found
            ]
        )

    async def remove(self, name: str) -> model_files.ModelDeleted:
        """Removes a model's files: a served one's, or what an earlier profile left.

        Raises:
            RequestError: 409, while it is loaded.
            ModelNotFound: Nothing of it is here.
            ModelBusy: It is being fetched.
        """
        name = self._pool.aliases.get(name, name)
        slot = next((slot for slot in self._pool.slots if slot.name == name), None)
        if slot is not None and slot.state not in ("unloaded", "failed"):
            raise RequestError(f"The model {name!r} is {slot.state}: unload it first.", code="model_in_use", status=409)
        freed = await asyncio.to_thread(cache.delete, self._cache_dir, name)
        return model_files.ModelDeleted(name, "model", deleted=True, freed_bytes=freed)
