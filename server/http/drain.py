"""Rejecting new requests while the server shuts down."""

from collections.abc import Callable

from litestar.types import ASGIApp, Receive, Scope, Send

from compat.errors import RequestError
from server.http.errors import send_error, to_wire_error


class Lifecycle:
    """Whether the server accepts new requests, and whether it has work that outlives its request."""

    def __init__(self) -> None:
        """Starts as a server that accepts requests."""
        self.draining = False
        self.is_busy: Callable[[], bool] = lambda: False
        """Whether work runs that a drain waits for, besides requests. Set by `create_app`."""


class DrainMiddleware:
    """ASGI middleware: rejects new POST requests during the drain, so that running ones can finish in time."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        """Wraps an application."""
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or replies with 503."""
        if scope["type"] == "http" and scope["method"] == "POST" and self._lifecycle.draining:
            error = RequestError(
                "The server is shutting down and accepts no new requests. Try again in a few seconds.",
                code="draining",
                status=503,
                headers={"Retry-After": "5"},
            )
            return await send_error(send, to_wire_error(error))
        await self._app(scope, receive, send)
        return None
