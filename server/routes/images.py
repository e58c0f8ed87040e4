"""POST /v1/images/generations, and the pictures that were asked for as URLs."""

from typing import Any

from litestar import Response, get, post

from adapters.base import ImageAdapter
from compat import images
from compat.errors import RequestError
from server import replies
from server.artifacts import MEDIA_TYPES
from server.services import AnyRequest, Services
from server.streaming import collect


@post("/v1/images/generations", status_code=200)
async def generate(request: AnyRequest, services: Services) -> Response[bytes]:
    """Pictures of a text."""
    body = await services.intake.json(request)
    slot = services.pool.find(images.model_of(body), ImageAdapter)
    call = images.parse(body, slot.entry.defaults)
    events = await collect(
        request, services.pool.stream(slot.name, ImageAdapter, lambda adapter: adapter.generate(call.request))
    )
    names = [await services.artifacts.save(one.image) for one in images.images_of(events) if call.as_url]
    urls = [f"{request.base_url}v1/images/content/{name}" for name in names]
    return replies.json(images.render(call, slot.name, events, urls))


@get("/v1/images/content/{name:str}")
async def content(name: str, services: Services) -> Response[Any]:
    """A picture that was asked for as a URL."""
    path = services.artifacts.path(name)
    if path is None:
        raise RequestError("There is no such picture, or it has expired.", code="image_not_found", status=404)
    return replies.file(path, MEDIA_TYPES[path.suffix])
