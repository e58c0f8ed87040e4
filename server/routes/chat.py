"""POST /v1/chat/completions."""

import msgspec
from litestar import Request, asgi
from litestar.exceptions import MethodNotAllowedException
from litestar.types import Receive, Scope, Send

from adapters.base import Outlet, TextAdapter
from compat.chat import plain
from compat.chat import request as chat
from server.http import replies
from server.http.bodies import INLINE_BYTES, decoded
from server.http.request import AnyRequest, owner_of, services_of
from server.http.streaming import collect, event_stream
from server.http.text_streams import counted
from server.services import Services


@asgi("/v1/chat/completions", copy_scope=False)
async def create(scope: Scope, receive: Receive, send: Send) -> None:
    """An answer to a conversation, whole or streamed.

    The busiest route, and so a bare ASGI handler: what Litestar does for a route of its own is a tenth of what a short
    answer costs.
    """
    request: AnyRequest = Request(scope, receive, send)  # pyright: ignore[reportArgumentType] - there are no sockets here
    if request.method != "POST":
        raise MethodNotAllowedException
    services: Services = services_of(scope)
    body = await services.intake.body(request)
    call = plain.parse(body) if len(body) < INLINE_BYTES else None
    call = call or chat.parse(await decoded(body))
    model = services.pool.find(call.model, TextAdapter).name
    wanted = await services.references.text(owner_of(request), call.request)
    outlet = Outlet()
    events = services.pool.stream(model, TextAdapter, lambda adapter: adapter.generate(wanted, outlet))
    events = counted(events, model, services.metrics)
    if call.stream:
        reply = await event_stream(request, chat.stream(call, model, events, outlet), outlet)
        return await reply.app(scope, receive, send)
    done = chat.render(call, model, await collect(request, events))
    return await replies.send_json(send, msgspec.json.encode(done))
