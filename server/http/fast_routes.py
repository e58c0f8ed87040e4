"""A shortcut around Litestar's routing for the busiest routes: routing is a twentieth of the cost of a short answer."""

from collections.abc import Mapping
from typing import Any, cast

from litestar import Litestar
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send


class FastRoutes:
    """ASGI middleware: calls the handler of some paths directly, and Litestar for all others.

    Exceptions of these handlers are answered by `server.http.metrics.RequestMiddleware`.
    """

    def __init__(self, app: Litestar, routes: Mapping[str, ASGIRouteHandler]) -> None:
        """Wraps the application.

        Args:
            app: All routes, including these.
            routes: Handlers by path. Other spellings of a path, such as a trailing slash, go to Litestar.
        """
        self._app = app
        self._routes = {path: handler.fn for path, handler in routes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles the request."""
        handler = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if handler is None:
            return await self._app(scope, receive, send)
        found = cast(dict[str, Any], scope)
        found["litestar_app"], found["path_template"] = self._app, found["path"]
        return await handler(scope, receive, send)
