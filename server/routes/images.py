"""POST /v1/images/generations, /edits and /variations, and the images that were requested as URLs."""

from collections.abc import Callable, Mapping
from typing import Any

from litestar import Response, post, route

from adapters.base import ImageAdapter, Media
from compat.errors import RequestError
from compat.images import edits, generations
from compat.images import replies as image_replies
from compat.media import MAX_IMAGE_BYTES
from compat.wire import flatten, gather_columns
from server.http import replies
from server.http.replies import READ
from server.http.request import AnyRequest, owner_of
from server.http.streaming import collect, event_stream
from server.services import Services
from server.storage.artifacts import MEDIA_TYPES

UPLOAD_LIMITS: Mapping[str, int] = {"image": MAX_IMAGE_BYTES, "mask": MAX_IMAGE_BYTES}
ParseImages = Callable[[Mapping[str, Any], Mapping[str, list[Media]], Mapping[str, Any]], generations.ImageCall]


@post("/v1/images/generations", status_code=200)
async def generate(request: AnyRequest, services: Services) -> Response[Any]:
    """Generates images from a text."""
    body = await services.bodies.json(request)
    slot = services.pool.find(generations.model_of(body), ImageAdapter)
    return await _reply(request, services, slot.name, generations.parse(body, slot.entry.defaults))


@post("/v1/images/edits", status_code=200)
async def edit(request: AnyRequest, services: Services) -> Response[Any]:
    """Generates images from a text and an image, as a whole or within a mask."""
    return await _from_images(request, services, edits.parse_edit)


@post("/v1/images/variations", status_code=200)
async def vary(request: AnyRequest, services: Services) -> Response[Any]:
    """Generates variations of an image."""
    return await _from_images(request, services, edits.parse_variation)


@route("/v1/images/content/{name:str}", http_method=READ)
async def content(request: AnyRequest, name: str, services: Services) -> Response[Any]:
    """An image that was requested as a URL."""
    path = services.artifacts.path(owner_of(request), name)
    if path is None:
        raise RequestError(
            "There is no image at this URL, or it has expired. Generate it again.", code="image_not_found", status=404
        )
    return replies.file(path, MEDIA_TYPES[path.suffix])


async def _from_images(request: AnyRequest, services: Services, parse: ParseImages) -> Response[Any]:
    # The uploads have been read when the first event is there, so they may be removed then.
    async with services.bodies.form(request, UPLOAD_LIMITS) as form:
        body = flatten(gather_columns(form.fields)) if form.json is None else dict(form.json)
        files = {name: [upload.media() for upload in uploads] for name, uploads in form.files.items()}
        images = {
            field: await services.references.resolve_media(owner_of(request), found)
            for field, found in edits.take_images(body, files).items()
        }
        slot = services.pool.find(generations.model_of(body), ImageAdapter)
        return await _reply(request, services, slot.name, parse(body, images, slot.entry.defaults))


async def _reply(request: AnyRequest, services: Services, model: str, call: generations.ImageCall) -> Response[Any]:
    events = services.pool.stream(model, ImageAdapter, lambda adapter: adapter.generate(call.request))
    if call.stream:
        return await event_stream(request, image_replies.stream(call, events))
    made = image_replies.collect(await collect(request, events))
    names = [await services.artifacts.save(owner_of(request), one.image) for one in made.images if call.as_url]
    urls = [f"{request.base_url}v1/images/content/{name}" for name in names]
    return replies.json(image_replies.render(call, model, made, urls))
