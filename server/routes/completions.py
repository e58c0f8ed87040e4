"""POST /v1/completions."""

from typing import Any

from litestar import Response, post

from adapters.base import Outlet, TextAdapter
from compat import completions
from server.http import replies
from server.http.request import AnyRequest
from server.http.streaming import collect, event_stream
from server.http.text_streams import count_tokens, generation, merge_choices
from server.services import Services


@post("/v1/completions", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[Any]:
    """Continues a text, as one reply or as a stream."""
    call = await services.bodies.parsed(request, completions.parse)
    model = services.pool.find(call.model, TextAdapter).name
    outlet = Outlet()
    works = [generation(one, outlet if len(call.requests) == 1 else None) for one in call.requests]
    events = merge_choices([services.pool.stream(model, TextAdapter, work) for work in works], call.n)
    events = count_tokens(events, model, services.metrics)
    if call.stream:
        return await event_stream(request, completions.stream(call, model, events, outlet), outlet)
    return replies.json(completions.render(call, model, await collect(request, events)))
