"""POST /v1/chat/completions."""

import msgspec
from litestar import Request, asgi
from litestar.exceptions import MethodNotAllowedException
from litestar.types import Receive, Scope, Send

from adapters.base import Outlet, TextAdapter
from compat.chat import plain
from compat.chat.reply import render, stream
from compat.chat.request import parse
from server.http import replies
from server.http.bodies import INLINE_BYTES, decoded
from server.http.request import AnyRequest, owner_of, services_of
from server.http.streaming import collect, event_stream, until_disconnect
from server.http.text_streams import count_tokens
from server.media.references import has_references
from server.services import Services


@asgi("/v1/chat/completions", copy_scope=False)
async def create(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a conversation, as one reply or as a stream.

    This is the busiest route, so it is a plain ASGI handler: Litestar's handling of a route is a tenth of the cost of a
    short answer.
    """
    request: AnyRequest = Request(scope, receive, send)  # pyright: ignore[reportArgumentType] - never a websocket
    if request.method != "POST":
        raise MethodNotAllowedException
    services: Services = services_of(scope)
    body = await services.bodies.json_bytes(request)
    call = plain.parse(body) if len(body) < INLINE_BYTES else None
    call = call or await decoded(body, parse)
    model = services.pool.find(call.model, TextAdapter).name
    text_request = call.request
    if has_references(text_request.messages):
        resolving = services.references.resolve_text(owner_of(request), text_request)
        text_request = await until_disconnect(request, resolving)
    outlet = Outlet()
    events = services.pool.stream(model, TextAdapter, lambda adapter: adapter.generate(text_request, outlet))
    events = count_tokens(events, model, services.metrics)
    if call.stream:
        reply = await event_stream(request, stream(call, model, events, outlet), outlet)
        return await reply.app(scope, receive, send)
    done = render(call, model, await collect(request, events))
    return await replies.send_json(send, msgspec.json.encode(done))
