"""/v1/models: what is served; and, with an admin key, downloading, verifying, loading, unloading and removing it.

Model names may contain slashes, so the URL's last segment is the action only where the whole is not a served name.
"""

from typing import Any

from litestar import Response, delete, get, post

from adapters.pool.slot import Slot
from compat import model_files, models
from server.http import replies
from server.http.auth import require_admin
from server.http.request import AnyRequest
from server.http.streaming import event_stream, until_disconnect
from server.services import Services


@get("/v1/models")
async def page(services: Services) -> Response[bytes]:
    """All served models."""
    return replies.json(models.ModelList(data=[_model(services, slot) for slot in services.pool.slots]))


@get("/v1/models/cache")
async def cached(request: AnyRequest, services: Services) -> Response[bytes]:
    """All models whose files are here."""
    require_admin(request.scope)
    return replies.json(await services.store.page())


@get("/v1/models/{model:path}")
async def retrieve(request: AnyRequest, services: Services, model: str) -> Response[bytes]:
    """One served model, by its name or an alias; or the newest download of one."""
    if not services.serves(model) and model.endswith("/download"):
        require_admin(request.scope)
        name, _ = model_files.action_of(model, ("download",))
        return replies.json(services.downloads.get(services.pool.find(name).name).render())
    return replies.json(_model(services, services.pool.find(model.strip("/"))))


@post("/v1/models/{path:path}", status_code=200)
async def act(request: AnyRequest, services: Services, path: str) -> Response[Any]:
    """Does with a model what the URL's last segment says."""
    name, action = model_files.action_of(path, ("download", "verify", "load", "unload"))
    require_admin(request.scope)
    slot = services.pool.find(name)
    body = await services.intake.optional_json(request)
    if action == "download":
        return await _download(request, services, slot, model_files.parse_download(body))
    model_files.parse_nothing(body)
    if action == "verify":
        return replies.json(await until_disconnect(request, services.store.verify(slot)))
    work = services.pool.load if action == "load" else services.pool.unload
    await until_disconnect(request, work(slot.name))
    return replies.json(_model(services, slot))


async def _download(
    request: AnyRequest, services: Services, slot: Slot, wanted: model_files.DownloadRequest
) -> Response[Any]:
    services.store.require_sources(slot)
    job = services.downloads.start(slot.name, lambda report: services.store.fetch(slot, report))
    if wanted.stream:
        return await event_stream(request, services.downloads.follow(job))
    return replies.json(job.render())


@delete("/v1/models/{model:path}", status_code=200)
async def remove(request: AnyRequest, services: Services, model: str) -> Response[bytes]:
    """Removes a model's files; or stops its download."""
    require_admin(request.scope)
    if not services.serves(model) and model.endswith("/download"):
        name, _ = model_files.action_of(model, ("download",))
        return replies.json((await services.downloads.cancel(services.pool.find(name).name)).render())
    return replies.json(await services.store.remove(model.strip("/")))


def _model(services: Services, slot: Slot) -> models.Model:
    return models.render(
        slot.name,
        created=services.started,
        kind=slot.entry.kind,
        state=slot.state,
        description=slot.entry.description,
        license=slot.entry.license,
        aliases=[alias for alias, name in services.pool.aliases.items() if name == slot.name],
        defaults=slot.entry.defaults,
        memory=models.ModelMemory(slot.estimated_bytes, slot.reserved_bytes, slot.peak_bytes),
    )
