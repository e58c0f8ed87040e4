"""The public port: binds it, serves the application with uvicorn, and drains on SIGTERM while health checks work."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Generator

import uvicorn
from litestar.types import ASGIApp

from server.http.drain import Lifecycle
from server.http.protocol import GuardedProtocol
from server.settings import Settings

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 10
BACKLOG = 2048


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers; `listen` handles signals, to drain first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def bind(settings: Settings) -> socket.socket:
    """Binds the public port.

    Raises:
        OSError: The address is not available.
    """
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, settings.port), family=family, backlog=BACKLOG)


async def listen(app: ASGIApp, port: socket.socket, settings: Settings, lifecycle: Lifecycle) -> None:
    """Serves until SIGTERM, SIGINT or SIGHUP, then drains.

    While it drains, readiness is 503 and liveness 200, and running requests and background responses have `drain_s` to
    finish. A second signal ends the drain at once.
    """
    server = _Server(
        uvicorn.Config(
            app,  # pyright: ignore[reportArgumentType] - both mean ASGI 3
            http=GuardedProtocol,
            ws="none",
            loop="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
            backlog=BACKLOG,
        )
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve(sockets=[port]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        log.info("draining for at most %g s", settings.drain_s)
        lifecycle.draining = True
        stop.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.drain_s):
                await _wait_until_idle(server, lifecycle, stop)
        server.should_exit = True
    stopping.cancel()
    await serving


async def _wait_until_idle(server: uvicorn.Server, lifecycle: Lifecycle, stop: asyncio.Event) -> None:
    """Returns when no request and no background response runs any more, or at the next signal."""
    while (server.server_state.tasks or lifecycle.is_busy()) and not stop.is_set():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.05)
