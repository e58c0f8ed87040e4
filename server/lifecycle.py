"""Start, drain and end of the server."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from litestar.types import ASGIApp, Receive, Scope, Send

from adapters.errors import AdapterError
from compat.errors import RequestError
from server.errors import as_wire, send_error
from server.services import Services

log = logging.getLogger(__name__)
SWEEP_S = 60.0


class Lifecycle:
    """Whether the server still welcomes requests."""

    def __init__(self) -> None:
        """It does."""
        self.draining = False


class DrainGate:
    """ASGI middleware: new work is refused while the server drains, so that what runs can end in time."""

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


@asynccontextmanager
async def running(services: Services) -> AsyncGenerator[None]:
    """What goes on beside the requests: preloading, sweeping; at the end all jobs and models are stopped."""
    tending = (services.pool.tend(), services.responses.tend(), services.jobs.tend())
    work = (_sweep(services), _preload(services), *tending)
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await services.jobs.aclose()
        await services.responses.aclose()
        await services.downloads.aclose()
        await services.pool.aclose()
        await services.database.aclose()


async def _sweep(services: Services) -> None:
    while True:
        try:
            await services.artifacts.sweep()
            await services.files.sweep()
        except (OSError, RequestError) as error:
            log.warning("sweeping failed: %s", error)
        await asyncio.sleep(SWEEP_S)


async def _preload(services: Services) -> None:
    for name in services.settings.preload:
        try:
            await services.pool.load(name)
        except AdapterError as error:
            log.error("preloading %s failed: %s", name, error)
