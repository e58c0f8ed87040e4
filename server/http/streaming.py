"""Replies that take long: the first item before the headers, server-sent events, and cancelling when the client goes.

An `EventStream` is an ASGI application of its own, because Litestar's stream response costs twice as much a frame and
does not tell the work that nobody listens.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from litestar import Request, Response
from litestar.types import ASGIApp, HTTPResponseBodyEvent, Receive, Scope, Send

from adapters.base import Outlet
from compat import sse
from compat.errors import RequestError
from server.http.errors import as_wire

T = TypeVar("T")


class Connection(Protocol):
    """What a server can do for a request beside ASGI, in one call where that needs a task or several awaits."""

    def write(self, piece: bytes) -> bool:
        """Sends a piece of a body that is sent in chunks; False where it cannot go out now."""
        ...

    def body(self) -> bytes | None:
        """The request's body, if all of it has come and nothing of it was taken; it is taken with this."""
        ...

    def on_gone(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Calls `tell` when the client goes away, or has gone; what it returns takes that back."""
        ...


HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
CONNECTION = "muybridge.connection"
"""The ASGI extension in which `server/http/server.py` gives its `Connection`."""
REPLY_TIMEOUT_S = 590.0
"""The SDK gives up after 600 s; a reply must have begun before."""


class AppResponse(Response[Any]):
    """A response that is an ASGI application of ours: Litestar routes to it and then stays out of the way."""

    def __init__(self, app: ASGIApp) -> None:
        """Wraps the application."""
        super().__init__(content=None)
        self.app = app

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """The application itself."""
        return self.app


class EventStream:
    """Server-sent events, as an ASGI application. Make it with `event_stream`."""

    def __init__(self, first: bytes, frames: AsyncGenerator[bytes], outlet: Outlet | None = None) -> None:
        """Takes the frame that is there already and those that follow, some of which may come by the outlet."""
        self._first = first
        self._frames = frames
        self._outlet = outlet or Outlet()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends all frames. When the client goes away, the work behind them is cancelled at once."""
        connection = connection_of(scope)
        direct = connection.write if connection is not None else None
        with suppress(RequestError):  # the client has gone: there is nobody to tell, and nothing to log
            await _attended(scope, receive, self._pump(send, direct))

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
    return await _attended(request.scope, request.receive, work, REPLY_TIMEOUT_S)


async def _attended(scope: Scope, receive: Receive, work: Awaitable[T], timeout_s: float | None = None) -> T:
    """What the work returns; it runs in this task, which is cancelled when the client goes away, or time is up."""
    here = asyncio.current_task()
    assert here is not None
    why: Callable[[], RequestError] | None = None

    def stop(reason: Callable[[], RequestError]) -> None:
        nonlocal why
        if why is None:
            why = reason
            here.cancel()

    connection, leave = connection_of(scope), partial(stop, _client_closed)
    forget = connection.on_gone(leave) if connection is not None else _watch(receive, leave)
    # One timer: `asyncio.timeout` costs several times as much.
    timer = asyncio.get_running_loop().call_later(timeout_s, stop, _late) if timeout_s is not None else None
    try:
        return await work
    except asyncio.CancelledError:
        if why is not None and here.uncancel() == 0:
            raise why() from None
        raise
    finally:
        forget()
        if timer is not None:
            timer.cancel()


def _client_closed() -> RequestError:
    return RequestError("The client closed the connection.", code="client_closed_request", status=499)


def _late() -> RequestError:
    return RequestError(
        f"No reply after {REPLY_TIMEOUT_S:g} s; stream it, or ask for less.",
        code="request_timeout",
        status=408,
        headers={"x-should-retry": "false"},
    )


def connection_of(scope: Scope) -> Connection | None:
    """What the server can do for a request beside ASGI; None where another server than ours runs this."""
    extensions: dict[str, Any] = cast(Any, scope).get("extensions") or {}
    return extensions.get(CONNECTION)


def _watch(receive: Receive, tell: Callable[[], None]) -> Callable[[], object]:
    """As `Connection.on_gone`, with what every ASGI server has."""

    async def watch() -> None:
        await _disconnected(receive)
        tell()

    return asyncio.create_task(watch()).cancel


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
