"""POST /v1/completions."""

from typing import Any

from litestar import Response, post

from adapters.base import Outlet, TextAdapter
from compat import completions
from server.http import replies
from server.http.request import AnyRequest
from server.http.streaming import collect, event_stream
from server.http.text_streams import counted, generating, side_by_side
from server.services import Services


@post("/v1/completions", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[Any]:
    """A continuation of a text, whole or streamed."""
    call = completions.parse(await services.intake.json(request))
    model = services.pool.find(call.model, TextAdapter).name
    outlet = Outlet()
    works = [generating(one, outlet if len(call.requests) == 1 else None) for one in call.requests]
    events = side_by_side([services.pool.stream(model, TextAdapter, work) for work in works], call.n)
    events = counted(events, model, services.metrics)
    if call.stream:
        return await event_stream(request, completions.stream(call, model, events, outlet), outlet)
    return replies.json(completions.render(call, model, await collect(request, events)))
