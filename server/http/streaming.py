"""Long replies: server-sent events, errors before the first event, and cancelling work when the client disconnects.

An `EventStream` is an ASGI application of its own, because Litestar's streaming response costs twice as much per frame
and does not cancel the work when the client disconnects.
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
from server.http.errors import to_wire_error

T = TypeVar("T")


class Connection(Protocol):
    """What our server offers for a request beside ASGI: one call where ASGI needs a task or several awaits."""

    def write(self, chunk: bytes) -> bool:
        """Sends a chunk of a chunked body; False when it cannot be sent now."""
        ...

    def body(self) -> bytes | None:
        """Takes the request's whole body; None when it has not arrived completely, or was taken before."""
        ...

    def on_disconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls `callback` once the client has disconnected; the returned function cancels that."""
        ...


HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
CONNECTION = "muybridge.connection"
"""The ASGI extension that holds the `Connection` of `server/http/protocol.py`."""
REPLY_TIMEOUT_S = 590.0
"""The SDK gives up after 600 s, so a reply must start before that."""


class AppResponse(Response[Any]):
    """A response that is an ASGI application: Litestar only routes to it."""

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
        """Takes the first frame, and the frames after it, some of which may arrive through the outlet."""
        self._first = first
        self._frames = frames
        self._outlet = outlet or Outlet()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends all frames. When the client disconnects, the work that produces them is cancelled at once."""
        connection = connection_of(scope)
        direct = connection.write if connection is not None else None
        with suppress(RequestError):  # the client has disconnected: there is nothing to send or log
            await _cancel_on_disconnect(scope, receive, self._send_frames(send, direct))

    async def _send_frames(self, send: Send, direct: Callable[[bytes], bool] | None) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            frame = self._first
            try:
                while True:
                    await send(_body(frame))
                    self._outlet.send = direct  # all earlier frames are sent, so the outlet cannot overtake them
                    frame = await anext(self._frames)
                    self._outlet.send = None
            except StopAsyncIteration:
                pass
            except Exception as error:  # the status is already sent: report the error in the stream, without [DONE]
                await send(_body(sse.frame(to_wire_error(error).body())))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._outlet.send = None
            await self._frames.aclose()


def _body(chunk: bytes) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": chunk, "more_body": True}


async def event_stream(
    request: Request[Any, Any, Any], frames: AsyncGenerator[bytes], outlet: Outlet | None = None
) -> AppResponse:
    """A stream of events. Waits for the first one, so that an early error still has its proper status.

    Raises:
        AdapterError: Whatever the work raises before its first event.
    """
    first = await until_disconnect(request, anext(frames))
    return AppResponse(EventStream(first, frames, outlet))


async def collect(request: Request[Any, Any, Any], events: AsyncGenerator[T]) -> list[T]:
    """All events of a stream, for a reply that is sent at once. A disconnect of the client cancels the work."""

    async def fold() -> list[T]:
        try:
            return [event async for event in events]
        finally:
            await events.aclose()

    return await until_disconnect(request, fold())


async def until_disconnect(request: Request[Any, Any, Any], work: Awaitable[T]) -> T:
    """The result of the work, which is cancelled when the client disconnects or when it takes too long.

    Raises:
        RequestError: 499, for the log only, when the client has disconnected; 408 after `REPLY_TIMEOUT_S`.
    """
    return await _cancel_on_disconnect(request.scope, request.receive, work, REPLY_TIMEOUT_S)


async def _cancel_on_disconnect(
    scope: Scope, receive: Receive, work: Awaitable[T], timeout_s: float | None = None
) -> T:
    """Runs the work in this task, which is cancelled when the client disconnects or when the time is up."""
    task = asyncio.current_task()
    assert task is not None
    reason: Callable[[], RequestError] | None = None

    def stop(because: Callable[[], RequestError]) -> None:
        nonlocal reason
        if reason is None:
            reason = because
            task.cancel()

    connection, on_disconnect = connection_of(scope), partial(stop, _client_closed)
    forget = connection.on_disconnect(on_disconnect) if connection is not None else _watch(receive, on_disconnect)
    # One timer: `asyncio.timeout` costs several times as much.
    timer = asyncio.get_running_loop().call_later(timeout_s, stop, _timed_out) if timeout_s is not None else None
    try:
        return await work
    except asyncio.CancelledError:
        if reason is not None and task.uncancel() == 0:
            raise reason() from None
        raise
    finally:
        forget()
        if timer is not None:
            timer.cancel()


def _client_closed() -> RequestError:
    return RequestError("The client closed the connection.", code="client_closed_request", status=499)


def _timed_out() -> RequestError:
    return RequestError(
        f"The reply was not ready after {REPLY_TIMEOUT_S:g} s. Send stream: true, or ask for a shorter reply.",
        code="request_timeout",
        status=408,
        headers={"x-should-retry": "false"},
    )


def connection_of(scope: Scope) -> Connection | None:
    """The `Connection` of a request; None when another ASGI server runs the application."""
    extensions: dict[str, Any] = cast(Any, scope).get("extensions") or {}
    return extensions.get(CONNECTION)


def _watch(receive: Receive, callback: Callable[[], None]) -> Callable[[], object]:
    """As `Connection.on_disconnect`, with standard ASGI only."""

    async def watch() -> None:
        await _disconnected(receive)
        callback()

    return asyncio.create_task(watch()).cancel


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
