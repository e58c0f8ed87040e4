"""POST /v1/completions."""

from typing import Any

from litestar import Response, post

from adapters.base import TextAdapter
from compat import completions
from server import replies
from server.counting import counted
from server.merging import generating, side_by_side
from server.services import AnyRequest, Services
from server.streaming import collect, event_stream


@post("/v1/completions", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[Any]:
    """A continuation of a text, whole or streamed."""
    call = completions.parse(await services.intake.json(request))
    model = services.pool.find(call.model, TextAdapter).name
    events = side_by_side([services.pool.stream(model, TextAdapter, generating(one)) for one in call.requests], call.n)
    events = counted(events, model, services.metrics)
    if call.stream:
        return await event_stream(request, completions.stream(call, model, events))
    return replies.json(completions.render(call, model, await collect(request, events)))
