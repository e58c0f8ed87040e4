"""The files of the served models, for the routes: fetching, verifying, listing, removing."""

import asyncio
import threading
from dataclasses import asdict
from pathlib import Path

from adapters.base import Report
from adapters.loader import cache, verification
from adapters.loader.fetch import fetch_entry, locate
from adapters.pool.pool import Pool
from adapters.pool.slot import Slot
from adapters.video.inputs import VideoInputs, inputs_of
from compat import model_files
from compat.errors import RequestError


class ModelFilesService:
    """The models' files on this machine."""

    def __init__(self, models_dir: Path, pool: Pool) -> None:
        """Takes the directory of downloaded models, which may not exist yet."""
        self._models_dir = models_dir
        self._pool = pool

    async def fetch(self, slot: Slot, report: Report) -> Path:
        """Downloads a model's files. Raises as `adapters.loader.fetch.fetch`."""
        return await fetch_entry(slot.name, slot.entry, self._models_dir, report, to_load=False)

    def require_sources(self, slot: Slot) -> None:
        """Requires that a model has files.

        Raises:
            RequestError: 400, it has none.
        """
        if not slot.entry.sources:
            raise RequestError(
                f"The model {slot.name!r} has no files to download or verify. Choose another model.",
                param="model",
                code="model_has_no_files",
            )

    async def verify(self, slot: Slot) -> model_files.ModelVerification:
        """Verifies all files of a model.

        Raises:
            RequestError: 404, they are not on this machine.
        """
        self.require_sources(slot)
        path = await asyncio.to_thread(locate, slot.name, slot.entry.sources, self._models_dir)
        if path is None:
            raise RequestError(
                f"The model {slot.name!r} is not downloaded. Download it with POST /v1/models/{slot.name}/download.",
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
        """What a video model accepts beside text; None when it is not served, or cannot be known before it is loaded.

        Args:
            model: The model's own name, not an alias.
        """
        slot = next((slot for slot in self._pool.slots if slot.name == model), None)
        return None if slot is None else await asyncio.to_thread(self._video_inputs, slot)

    def _video_inputs(self, slot: Slot) -> VideoInputs | None:
        path = locate(slot.name, slot.entry.sources, self._models_dir)
        return None if path is None else inputs_of(slot.entry.backend, path)

    async def list_cached(self) -> model_files.CachedModelList:
        """All downloaded models."""
        found = await asyncio.to_thread(cache.list_cached, self._models_dir)
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
        """Removes the files of a model, whether or not it is served.

        Raises:
            RequestError: 409, the model is loaded.
            ModelNotFound: The model has no files on this machine.
            ModelBusy: The model is being downloaded.
        """
        name = self._pool.aliases.get(name, name)
        slot = next((slot for slot in self._pool.slots if slot.name == name), None)
        if slot is not None and slot.state not in ("unloaded", "failed"):
            raise RequestError(
                f"The model {name!r} is {slot.state}. Unload it with POST /v1/models/{name}/unload, then try again.",
                code="model_in_use",
                status=409,
            )
        freed = await asyncio.to_thread(cache.delete, self._models_dir, name)
        return model_files.ModelDeleted(name, "model", deleted=True, freed_bytes=freed)
