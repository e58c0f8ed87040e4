"""The public port: uvicorn, with what it lacks against slow and greedy clients, and a drain that keeps liveness up.

uvicorn costs this server least per streamed token (ADR 2), but waits for ever for a request's head and lets it grow
without bound, for a client to take its reply, and for whatever follows one that is no request. `GuardedProtocol` adds
the deadlines and caps; slow bodies are `server/http/bodies.py`'s.
"""

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from asyncio.events import TimerHandle
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any, ClassVar
from weakref import ref

import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from compat.errors import RequestError, wire_error
from server.http.drain import Lifecycle
from server.http.errors import error_body
from server.http.framing import FramedProtocol
from server.http.streaming import CONNECTION
from server.settings import Settings

log = logging.getLogger(__name__)

HEAD_TIMEOUT_S = 15.0
"""From the connection, or a request's first byte, to the end of its head. What follows a reply and begins no request
(the rest of a body that was refused, line breaks) may take as long."""
SEND_TIMEOUT_S = 60.0
"""A reader that takes nothing for so long is cut off: it holds memory, and perhaps a place in the model."""
MAX_HEAD_BYTES = 64 * 1024
MAX_CONNECTIONS = 4096
MAX_CONNECTIONS_PER_ADDRESS = 1024
KEEP_ALIVE_S = 10
BACKLOG = 2048
HEAD = b"HTTP/1.1 "
"""How a reply begins."""
STATUS_TEXT = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class GuardedProtocol(FramedProtocol):
    """HTTP/1.1 with a deadline and a size for the request's head, a deadline for readers, and a cap on connections."""

    per_address: ClassVar[Counter[str]] = Counter()
    waiting: ClassVar[dict[str, dict["GuardedProtocol", None]]] = {}
    """By address: its connections on which no request runs, longest waiting first. They give way to new ones."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Takes what uvicorn hands to every protocol."""
        super().__init__(*arguments, **options)
        self._deadline: TimerHandle | None = None
        self._unread: TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        self._leaving: set[Callable[[], None]] = set()
        self._refusal: tuple[int, str, str] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Starts the deadline, or drops the connection where there are too many."""
        super().connection_made(_Joined(transport, self.loop))  # pyright: ignore[reportArgumentType] - all of it that is used
        address = self._address()
        self.per_address[address] += 1
        crowded = self.per_address[address] > MAX_CONNECTIONS_PER_ADDRESS
        if crowded or len(self.connections) > MAX_CONNECTIONS:
            crowd = address if crowded else max(self.waiting, key=self.per_address.__getitem__, default=address)
            oldest = next(iter(self.waiting.get(crowd, ())), None)
            if oldest is None:
                transport.abort()
                return
            oldest.transport.abort()
        self._wait()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._stop_deadline()
        self._stop_watching()
        self._stop_waiting()
        address = self._address()
        self.per_address[address] -= 1
        if self.per_address[address] <= 0:
            del self.per_address[address]
        super().connection_lost(exc)
        for tell in tuple(self._leaving):
            tell()
        # Without these the protocol, its last request and that request's headers and body would be a reference cycle,
        # which Python frees only in a full collection.
        self.cycle = self.scope = self.headers = None  # pyright: ignore[reportAttributeAccessIssue]
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parses what came, as long as the request's head stays within its size."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self._ends_within(data):
                self.refuse(431, "The request's head is too large.", "head_too_large")
                return
        super().data_received(data)
        idle = self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]
        if idle and self._deadline is None:  # no request, and what came has ended uvicorn's wait for one
            self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._close)

    def pause_writing(self) -> None:
        """The client is slower than we are: watches that it takes anything at all."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_watching()

    def on_response_complete(self) -> None:
        """A reply is out, as far as the application knows."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_reader()
        elif self.cycle.response_complete:
            self._wait()
            if self._refusal is not None:
                self.refuse(*self._refusal)

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came after a reply."""
        self._close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if not self._in_head and not self._resuming:
            self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there: from here on the application watches."""
        if self._resuming:
            return
        self._stop_deadline()
        self._stop_waiting()
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()
        extension = CycleConnection(self.cycle, self._leaving)
        self.scope["extensions"] = {CONNECTION: extension}  # pyright: ignore[reportGeneralTypeIssues]

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP."""
        self.refuse(400, msg, "invalid_http")

    def refuse(self, status: int, message: str, code: str) -> None:
        """Answers in OpenAI's envelope without the application, and closes; after the replies that are still due."""
        if self.cycle is not None and not self.cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]
            if not self._in_body:  # what is wrong follows a request that is being answered
                self._refusal = (status, message, code)
                self.flow.pause_reading()
                return
            if self.cycle.response_started:
                self._close()
                return
        body = error_body(wire_error(RequestError(message, code=code, status=status)))
        head = (
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"x-request-id: req_%s\r\nconnection: close\r\n\r\n"
        ) % (status, STATUS_TEXT[status], len(body), secrets.token_hex(16).encode())
        self.transport.write(head + body)
        self._close()

    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _wait(self) -> None:
        self.waiting.setdefault(self._address(), {})[self] = None

    def _stop_waiting(self) -> None:
        address = self._address()
        if (waiting := self.waiting.get(address)) is not None:
            waiting.pop(self, None)
            if not waiting:
                del self.waiting[address]

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

    def _close(self) -> None:
        self.transport.close()
        self._watch_reader()  # closing waits until all is sent, for ever if it must

    def _watch_reader(self) -> None:
        if self._unread is None and (size := self.transport.get_write_buffer_size()):
            self._unread = self.loop.call_later(SEND_TIMEOUT_S, self._check_reader, size)

    def _check_reader(self, before: int) -> None:
        self._unread = None
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._watch_reader()

    def _stop_watching(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _ends_within(self, data: bytes) -> bool:
        """Whether the head ended in time inside one large piece whose rest is body."""
        end = data.find(b"\r\n\r\n")
        return end >= 0 and self._head_bytes - len(data) + end <= MAX_HEAD_BYTES


class _Joined:
    """A transport that sends a reply's head together with what follows it: one call of the kernel less a reply."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(HEAD):
            self._head = data
            self._loop.call_soon(self._flush)  # should nothing follow at once
            return
        self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size() + len(self._head)

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)


class CycleConnection:
    """The `Connection` of one request."""

    __slots__ = ("_cycle", "_leaving", "_taken")

    def __init__(self, cycle: RequestResponseCycle, leaving: set[Callable[[], None]]) -> None:
        """Of one request.

        Args:
            cycle: uvicorn's object for it.
            leaving: Whom its connection calls when it is lost.
        """
        self._cycle = ref(cycle)  # whose scope holds this object
        self._leaving = leaving
        self._taken = False

    def write(self, piece: bytes) -> bool:
        """One call instead of five awaits a streamed token. See `Connection`."""
        cycle = self._cycle()
        if (
            cycle is None
            or cycle.flow.write_paused
            or cycle.disconnected
            or cycle.response_complete
            or not cycle.chunked_encoding
        ):
            return False
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        return True

    def body(self) -> bytes | None:
        """Without a task's turn and a timer for each piece. See `Connection`."""
        cycle = self._cycle()
        if cycle is None or cycle.more_body or cycle.disconnected or self._taken:
            return None
        self._taken = True
        body, cycle.body = cycle.body, bytearray()
        cycle.flow.resume_reading()
        return bytes(body)

    def on_gone(self, tell: Callable[[], None]) -> Callable[[], None]:
        """One entry in a set instead of a task a request. See `Connection`."""
        if (cycle := self._cycle()) is None or cycle.disconnected:
            return asyncio.get_running_loop().call_soon(tell).cancel
        self._leaving.add(tell)
        return lambda: self._leaving.discard(tell)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: ours drain first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def bind(settings: Settings) -> socket.socket:
    """The public port, bound.

    Raises:
        OSError: It cannot be had.
    """
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, settings.port), family=family, backlog=BACKLOG)


async def listen(app: ASGIApp, port: socket.socket, settings: Settings, lifecycle: Lifecycle) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    While it drains, readiness is 503 and liveness 200, and what runs goes on for `drain_s`; a second signal ends it.
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
    for number in (signal.SIGTERM, signal.SIGINT):
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
                await _drained(server, stop)
        server.should_exit = True
    stopping.cancel()
    await serving


async def _drained(server: uvicorn.Server, stop: asyncio.Event) -> None:
    """Returns when no request runs any more, or at a second signal."""
    while server.server_state.tasks and not stop.is_set():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.05)
