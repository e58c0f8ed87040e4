"""Refusing new work while the server drains."""

from litestar.types import ASGIApp, Receive, Scope, Send

from compat.errors import RequestError
from server.http.errors import as_wire, send_error


class Lifecycle:
    """Whether the server still accepts requests."""

    def __init__(self) -> None:
        """A server that accepts requests."""
        self.draining = False


class DrainGate:
    """ASGI middleware: new work is refused while the server drains, so that running work can finish in time."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        """Wraps an app."""
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the request through, or answers it."""
        if scope["type"] == "http" and scope["method"] == "POST" and self._lifecycle.draining:
            error = RequestError(
                "The server is shutting down.", code="draining", status=503, headers={"Retry-After": "5"}
            )
            return await send_error(send, as_wire(error))
        await self._app(scope, receive, send)
        return None
