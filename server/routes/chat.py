"""POST /v1/chat/completions."""

from typing import Any

from litestar import Response, post

from adapters.base import Outlet, TextAdapter
from compat import chat
from server import replies
from server.counting import counted
from server.services import AnyRequest, Services
from server.streaming import collect, event_stream


@post("/v1/chat/completions", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[Any]:
    """An answer to a conversation, whole or streamed."""
    call = chat.parse(await services.intake.json(request))
    model = services.pool.find(call.model, TextAdapter).name
    outlet = Outlet()
    events = services.pool.stream(model, TextAdapter, lambda adapter: adapter.generate(call.request, outlet))
    events = counted(events, model, services.metrics)
    if call.stream:
        return await event_stream(request, chat.stream(call, model, events, outlet), outlet)
    return replies.json(chat.render(call, model, await collect(request, events)))
