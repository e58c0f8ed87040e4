"""The busiest routes, found before Litestar looks: finding a route is a twentieth of what a short answer costs."""

from collections.abc import Mapping
from typing import Any, cast

from litestar import Litestar
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send


class Shortcut:
    """ASGI middleware: hands a path to its bare handler, and all else to Litestar, which has these routes too.

    What a handler raises is answered by `server.http.metrics.RequestLog`, as by `server.http.errors.to_response`.
    """

    def __init__(self, app: Litestar, routes: Mapping[str, ASGIRouteHandler]) -> None:
        """Wraps the application.

        Args:
            app: All routes.
            routes: By path, as clients spell it; other spellings of the same are found by Litestar.
        """
        self._app = app
        self._routes = {path: handler.fn for path, handler in routes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request."""
        handler = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if handler is None:
            return await self._app(scope, receive, send)
        found = cast(dict[str, Any], scope)
        found["litestar_app"], found["path_template"] = self._app, found["path"]
        return await handler(scope, receive, send)
