"""Replies that take long: the first item before the headers, server-sent events, and cancelling when the client goes.

An `EventStream` is an ASGI application of its own, because Litestar's stream response costs twice as much a frame and
does not tell the work that nobody listens.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from litestar import Request, Response
from litestar.types import ASGIApp, HTTPResponseBodyEvent, Receive, Scope, Send

from adapters.base import Outlet
from compat import sse
from compat.errors import RequestError
from server.errors import as_wire

T = TypeVar("T")
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
DIRECT = "muybridge.direct"
"""The ASGI extension by which `server/listening.py` sends a piece of a body at once: bytes to whether it did."""
REPLY_TIMEOUT_S = 590.0
"""The SDK gives up after 600 s; a reply must have begun before."""


class AppResponse(Response[Any]):
    """A response that is an ASGI application of ours: Litestar routes to it and then stays out of the way."""

    def __init__(self, app: ASGIApp) -> None:
        """Wraps the application."""
        super().__init__(content=None)
        self._app = app

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """The application itself."""
        return self._app


class EventStream:
    """Server-sent events, as an ASGI application. Make it with `event_stream`."""

    def __init__(self, first: bytes, frames: AsyncGenerator[bytes], outlet: Outlet | None = None) -> None:
        """Takes the frame that is there already and those that follow, some of which may come by the outlet."""
        self._first = first
        self._frames = frames
        self._outlet = outlet or Outlet()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends all frames. When the client goes away, the work behind them is cancelled at once."""
        extensions: Any = cast(Any, scope).get("extensions") or {}
        with suppress(RequestError):  # the client has gone: there is nobody to tell, and nothing to log
            await _unless_disconnected(receive, self._pump(send, extensions.get(DIRECT)))

    async def _pump(self, send: Send, direct: Callable[[bytes], bool] | None) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            frame = self._first
            try:
                while True:
                    await send(_body(frame))
                    self._outlet.send = direct  # all before has gone: what comes by the outlet cannot overtake it
                    frame = await anext(self._frames)
                    self._outlet.send = None
            except StopAsyncIteration:
                pass
            except Exception as error:  # the status is gone: say it in the stream, and never [DONE]
                await send(_body(sse.frame(as_wire(error).body())))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._outlet.send = None
            await self._frames.aclose()


def _body(piece: bytes) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": piece, "more_body": True}


async def event_stream(
    request: Request[Any, Any, Any], frames: AsyncGenerator[bytes], outlet: Outlet | None = None
) -> AppResponse:
    """A stream whose first frame exists, so that an early failure is still a proper status.

    Raises:
        AdapterError: What the work raises before its first event.
    """
    first = await until_disconnect(request, anext(frames))
    return AppResponse(EventStream(first, frames, outlet))


async def collect(request: Request[Any, Any, Any], events: AsyncGenerator[T]) -> list[T]:
    """All events of a stream, for a reply that is sent whole; a client that goes away cancels the work."""

    async def fold() -> list[T]:
        try:
            return [event async for event in events]
        finally:
            await events.aclose()

    return await until_disconnect(request, fold())


async def until_disconnect(request: Request[Any, Any, Any], work: Awaitable[T]) -> T:
    """What the work returns; cancelled when the client goes away first, or when it takes too long.

    Raises:
        RequestError: 499, which nobody will read, when the client went away; 408 after `REPLY_TIMEOUT_S`.
    """
    deadline = asyncio.timeout(REPLY_TIMEOUT_S)
    try:
        async with deadline:
            return await _unless_disconnected(request.receive, work)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise RequestError(
            f"No reply after {REPLY_TIMEOUT_S:g} s; stream it, or ask for less.",
            code="request_timeout",
            status=408,
            headers={"x-should-retry": "false"},
        ) from None


async def _unless_disconnected(receive: Receive, work: Awaitable[T]) -> T:
    """What the work returns; it runs in this task, which a task beside it cancels when the client goes away."""
    here = asyncio.current_task()
    assert here is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        await _disconnected(receive)
        gone = True
        here.cancel()

    watching = asyncio.create_task(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if gone and here.uncancel() == 0:
            raise RequestError("The client closed the connection.", code="client_closed_request", status=499) from None
        raise
    finally:
        watching.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
