"""/v1/models: the served models; with an admin key also downloading, verifying, loading, unloading and removing them.

Model names may contain slashes. The last segment of a path is an action only if the whole path is not a served name.
"""

import asyncio
from typing import Any

from litestar import Response, delete, get, post

from adapters.catalog.catalog import ModelEntry
from adapters.catalog.model_config import with_options
from adapters.catalog.yaml_lines import ConfigurationError
from adapters.pool.slot import Slot
from compat.errors import RequestError
from compat.model_files import DownloadRequest, LoadRequest, action_of, parse_download, parse_load, parse_nothing
from compat.models import Model, ModelList, ModelMemory, render
from server.http import replies
from server.http.auth import require_admin
from server.http.request import AnyRequest
from server.http.streaming import event_stream, until_disconnect
from server.services import Services


@get("/v1/models")
async def page(services: Services) -> Response[bytes]:
    """All served models."""
    return replies.json(ModelList(data=[_model(services, slot) for slot in services.pool.slots]))


@get("/v1/models/cache")
async def cached(request: AnyRequest, services: Services) -> Response[bytes]:
    """All downloaded models."""
    require_admin(request.scope)
    return replies.json(await services.model_files.list_cached())


@get("/v1/models/{model:path}")
async def retrieve(request: AnyRequest, services: Services, model: str) -> Response[bytes]:
    """One served model, by its name or an alias; or its newest download."""
    if not services.is_served(model) and model.endswith("/download"):
        require_admin(request.scope)
        name, _ = action_of(model, ("download",))
        return replies.json(services.downloads.get(services.pool.find(name).name).render())
    return replies.json(_model(services, services.pool.find(model.strip("/"))))


@post("/v1/models/{path:path}", status_code=200)
async def act(request: AnyRequest, services: Services, path: str) -> Response[Any]:
    """Downloads, verifies, loads or unloads a model, as the last segment of the path says."""
    name, action = action_of(path, ("download", "verify", "load", "unload"))
    require_admin(request.scope)
    slot = services.pool.find(name)
    body = await services.bodies.optional_json(request)
    if action == "download":
        return await _download(request, services, slot, parse_download(body))
    if action == "load":
        entry = await asyncio.to_thread(_entry, services, slot, parse_load(body))
        await until_disconnect(request, services.pool.load(slot.name, entry))
        return replies.json(_model(services, slot))
    parse_nothing(body)
    if action == "verify":
        return replies.json(await until_disconnect(request, services.model_files.verify(slot)))
    await until_disconnect(request, services.pool.unload(slot.name))
    return replies.json(_model(services, slot))


def _entry(services: Services, slot: Slot, wanted: LoadRequest) -> ModelEntry | None:
    """The catalog entry with the device and compute type that are asked for; None: neither is.

    Raises:
        RequestError: 400, the model's backend does not support one of them.
    """
    if wanted.device is None and wanted.compute_type is None:
        return None
    try:
        return with_options(
            services.pool.models[slot.name], device=wanted.device or "auto", compute_type=wanted.compute_type or "auto"
        )
    except ConfigurationError as error:
        raise RequestError(f"Invalid {error}.", param=str(error).partition(":")[0], code="unsupported_option") from None


async def _download(request: AnyRequest, services: Services, slot: Slot, options: DownloadRequest) -> Response[Any]:
    services.model_files.require_sources(slot)
    job = services.downloads.start(slot.name, lambda report: services.model_files.fetch(slot, report))
    if options.stream:
        return await event_stream(request, services.downloads.follow(job))
    return replies.json(job.render())


@delete("/v1/models/{model:path}", status_code=200)
async def remove(request: AnyRequest, services: Services, model: str) -> Response[bytes]:
    """Removes a model's files, or cancels its download."""
    require_admin(request.scope)
    if not services.is_served(model) and model.endswith("/download"):
        name, _ = action_of(model, ("download",))
        return replies.json((await services.downloads.cancel(services.pool.find(name).name)).render())
    return replies.json(await services.model_files.remove(model.strip("/")))


def _model(services: Services, slot: Slot) -> Model:
    return render(
        slot.name,
        created=services.started,
        kind=slot.entry.kind,
        state=slot.state,
        description=slot.entry.description,
        license=slot.entry.license,
        aliases=[alias for alias, name in services.pool.aliases.items() if name == slot.name],
        defaults=slot.entry.defaults,
        memory=ModelMemory(slot.estimated_bytes, slot.reserved_bytes, slot.peak_bytes),
    )
