"""The public port: uvicorn, with what it lacks against slow and greedy clients, and a drain that keeps liveness up.

uvicorn costs this server least per streamed token (ADR 2), but waits for ever for a request's head and lets it grow
without bound. `GuardedProtocol` adds the deadlines and caps; slow bodies are `server/bodies.py`'s, slow readers
`server/streaming.py`'s.
"""

import asyncio
import contextlib
import logging
import secrets
import signal
from asyncio.events import TimerHandle
from collections import Counter
from collections.abc import Generator
from typing import Any, ClassVar

import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from compat.errors import RequestError, wire_error
from server.errors import error_body
from server.lifecycle import Lifecycle
from server.settings import Settings

log = logging.getLogger(__name__)

HEAD_TIMEOUT_S = 15.0
"""From the connection, or the end of the last reply, to the end of a request's head."""
MAX_HEAD_BYTES = 64 * 1024
MAX_CONNECTIONS = 4096
MAX_CONNECTIONS_PER_ADDRESS = 1024
KEEP_ALIVE_S = 10
STATUS_TEXT = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class GuardedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a deadline and a size for the request's head, and a cap on connections, per address too."""

    per_address: ClassVar[Counter[str]] = Counter()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Takes what uvicorn hands to every protocol."""
        super().__init__(*arguments, **options)
        self._deadline: TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Starts the deadline, or drops the connection where there are too many."""
        super().connection_made(transport)
        address = self._address()
        self.per_address[address] += 1
        if len(self.connections) > MAX_CONNECTIONS or self.per_address[address] > MAX_CONNECTIONS_PER_ADDRESS:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._stop_deadline()
        address = self._address()
        self.per_address[address] -= 1
        if self.per_address[address] <= 0:
            del self.per_address[address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what came, as long as the request's head stays within its size."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self._ends_within(data):
                self.refuse(431, "The request's head is too large.", "head_too_large")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if not self._in_head:
            self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there: from here on the application watches."""
        self._stop_deadline()
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP."""
        self.refuse(400, msg, "invalid_http")

    def refuse(self, status: int, message: str, code: str) -> None:
        """Answers in OpenAI's envelope without the application, and closes."""
        body = error_body(wire_error(RequestError(message, code=code, status=status)))
        head = (
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"x-request-id: req_%s\r\nconnection: close\r\n\r\n"
        ) % (status, STATUS_TEXT[status], len(body), secrets.token_hex(16).encode())
        self.transport.write(head + body)
        self.transport.close()

    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _await_head(self) -> None:
        self._stop_deadline()
        self._in_head = True
        self._head_bytes = 0
        self._deadline = self.loop.call_later(
            HEAD_TIMEOUT_S, self.refuse, 408, "The request did not arrive in time.", "request_timeout"
        )

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _ends_within(self, data: bytes) -> bool:
        """Whether the head ended in time inside one large piece whose rest is body."""
        end = data.find(b"\r\n\r\n")
        return end >= 0 and self._head_bytes - len(data) + end <= MAX_HEAD_BYTES


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: ours drain first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def listen(app: ASGIApp, settings: Settings, lifecycle: Lifecycle) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    While it drains, readiness is 503 and liveness 200, and what runs goes on for `drain_s`; a second signal ends it.
    """
    server = _Server(
        uvicorn.Config(
            app,  # pyright: ignore[reportArgumentType] - both mean ASGI 3
            host=settings.host.strip("[]"),
            port=settings.port,
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
            backlog=2048,
        )
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        log.info("draining for at most %g s", settings.drain_s)
        lifecycle.draining = True
        stop.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.drain_s):
                await _drained(server, stop)
        server.should_exit = True
    stopping.cancel()
    await serving


async def _drained(server: uvicorn.Server, stop: asyncio.Event) -> None:
    """Returns when no request runs any more, or at a second signal."""
    while server.server_state.tasks and not stop.is_set():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.05)
