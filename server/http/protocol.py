"""The HTTP/1.1 protocol of the public port: uvicorn's, with deadlines and limits against slow and greedy clients.

uvicorn has the lowest cost per streamed token (ADR 2), but it waits without a limit for a request's head, for a client
to read its reply, and for whatever follows invalid HTTP, and it does not limit the size of a head. `GuardedProtocol`
adds these deadlines and limits. Slow request bodies are handled in `server/http/bodies.py`.
"""

import asyncio
import secrets
from asyncio.events import TimerHandle
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar
from weakref import ref

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from compat.errors import RequestError, wire_error
from server.http.errors import error_body
from server.http.framing import FramedProtocol
from server.http.streaming import CONNECTION

HEAD_TIMEOUT_S = 15.0
"""From the connection, or a request's first byte, to the end of its head. Also how long a client may send something
that starts no request after a reply, such as the rest of a refused body."""
SEND_TIMEOUT_S = 30.0
MIN_READ_BYTES = 16 * 1024
"""A client that reads fewer bytes of what waits for it in this time is disconnected: it occupies memory and perhaps a
model."""
MAX_HEAD_BYTES = 64 * 1024
MAX_CONNECTIONS = 4096
MAX_CONNECTIONS_PER_ADDRESS = 1024
HEAD_TIMEOUT_MESSAGE = f"The request's headers did not arrive within {HEAD_TIMEOUT_S:g} s. Send the request again."
STATUS_LINE = b"HTTP/1.1 "
"""The first bytes of every reply."""
STATUS_TEXT = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class GuardedProtocol(FramedProtocol):
    """HTTP/1.1 with a time and size limit for request heads, a deadline for slow readers, and a connection limit."""

    per_address: ClassVar[Counter[str]] = Counter()
    idle: ClassVar[dict[str, dict["GuardedProtocol", None]]] = {}
    """By address: its connections on which no request runs, longest idle first. They are dropped for new ones."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Takes the arguments that uvicorn passes to every protocol."""
        super().__init__(*arguments, **options)
        self._deadline: TimerHandle | None = None
        self._reader_timer: TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        self._on_disconnect: set[Callable[[], None]] = set()
        self._refusal: tuple[int, str, str] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Starts the deadline. With too many connections, drops the oldest idle one, or else this one."""
        super().connection_made(_HeadBufferingTransport(transport, self.loop))  # pyright: ignore[reportArgumentType] - has all members that are used
        address = self._address()
        self.per_address[address] += 1
        full = self.per_address[address] > MAX_CONNECTIONS_PER_ADDRESS
        if full or len(self.connections) > MAX_CONNECTIONS:
            largest = address if full else max(self.idle, key=self.per_address.__getitem__, default=address)
            oldest = next(iter(self.idle.get(largest, ())), None)
            if oldest is None:
                transport.abort()
                return
            oldest.transport.abort()
        self._mark_idle()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timers, and calls the callbacks for disconnects."""
        self._stop_deadline()
        self._stop_watching()
        self._mark_busy()
        address = self._address()
        self.per_address[address] -= 1
        if self.per_address[address] <= 0:
            del self.per_address[address]
        super().connection_lost(exc)
        for callback in tuple(self._on_disconnect):
            callback()
        # Otherwise the protocol, its last request and that request's headers and body would be a reference cycle, which
        # Python frees in a full collection only.
        self.cycle = self.scope = self.headers = None  # pyright: ignore[reportAttributeAccessIssue]
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parses received bytes, as long as the request's head is within its size limit."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self._ends_within(data):
                self.refuse(
                    431,
                    f"The request line and headers are larger than {MAX_HEAD_BYTES} bytes. Send smaller headers.",
                    "head_too_large",
                )
                return
        super().data_received(data)
        idle = self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]
        if idle and self._deadline is None:  # no request runs, and the bytes have stopped uvicorn's keep-alive timer
            self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._close)

    def pause_writing(self) -> None:
        """The client reads slowly: starts the deadline for reading anything at all."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """The client has caught up: stops the deadline."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_watching()

    def on_response_complete(self) -> None:
        """The application has sent a whole reply."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_reader()
        elif self.cycle.response_complete:
            self._mark_idle()
            if self._refusal is not None:
                self.refuse(*self._refusal)

    def timeout_keep_alive_handler(self) -> None:
        """No further request arrived in time after a reply."""
        self._close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if not self._in_head and not self._resuming:
            self._await_head()

    def on_headers_complete(self) -> None:
        """The head is complete: stops its deadline, and hands the request to the application."""
        if self._resuming:
            return
        self._stop_deadline()
        self._mark_busy()
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()
        extension = RequestConnection(self.cycle, self._on_disconnect)
        self.scope["extensions"] = {CONNECTION: extension}  # pyright: ignore[reportGeneralTypeIssues]

    def send_400_response(self, msg: str) -> None:
        """Answers invalid HTTP."""
        self.refuse(400, msg, "invalid_http")

    def refuse(self, status: int, message: str, code: str) -> None:
        """Sends an error in OpenAI's envelope without calling the application, and closes the connection.

        Replies to earlier requests on the connection are finished first.
        """
        if self.cycle is not None and not self.cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]
            if not self._in_body:  # the error is in what follows a request that is being answered
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

    def _mark_idle(self) -> None:
        self.idle.setdefault(self._address(), {})[self] = None

    def _mark_busy(self) -> None:
        address = self._address()
        if (connections := self.idle.get(address)) is not None:
            connections.pop(self, None)
            if not connections:
                del self.idle[address]

    def _await_head(self) -> None:
        self._stop_deadline()
        self._in_head = True
        self._head_bytes = 0
        self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self.refuse, 408, HEAD_TIMEOUT_MESSAGE, "request_timeout")

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        self.transport.close()
        self._watch_reader()  # closing waits until everything is sent, without a limit of its own

    def _watch_reader(self) -> None:
        if self._reader_timer is None and (size := self.transport.get_write_buffer_size()):
            self._reader_timer = self.loop.call_later(SEND_TIMEOUT_S, self._check_reader, size)

    def _check_reader(self, before: int) -> None:
        self._reader_timer = None
        if before - self.transport.get_write_buffer_size() < min(before, MIN_READ_BYTES):
            self.transport.abort()
        else:
            self._watch_reader()

    def _stop_watching(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _ends_within(self, data: bytes) -> bool:
        """Whether the head ended within its limit inside one large chunk whose rest is body."""
        end = data.find(b"\r\n\r\n")
        return end >= 0 and self._head_bytes - len(data) + end <= MAX_HEAD_BYTES


class _HeadBufferingTransport:
    """A transport that sends a reply's head together with the first bytes of its body: one system call less."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(STATUS_LINE):
            self._head = data
            self._loop.call_soon(self._flush)  # if no body follows at once
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


class RequestConnection:
    """Implements `server.http.streaming.Connection` for one request."""

    __slots__ = ("_callbacks", "_cycle", "_taken")

    def __init__(self, cycle: RequestResponseCycle, callbacks: set[Callable[[], None]]) -> None:
        """Wraps one request.

        Args:
            cycle: uvicorn's object for the request.
            callbacks: What the protocol calls when the connection is lost.
        """
        self._cycle = ref(cycle)  # weak, because the cycle's scope refers to this object
        self._callbacks = callbacks
        self._taken = False

    def write(self, chunk: bytes) -> bool:
        """See `Connection`. One call instead of five awaits per streamed token."""
        cycle = self._cycle()
        if (
            cycle is None
            or cycle.flow.write_paused
            or cycle.disconnected
            or cycle.response_complete
            or not cycle.chunked_encoding
        ):
            return False
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        return True

    def body(self) -> bytes | None:
        """See `Connection`. Needs no task switch and no timer per chunk."""
        cycle = self._cycle()
        if cycle is None or cycle.more_body or cycle.disconnected or self._taken:
            return None
        self._taken = True
        body, cycle.body = cycle.body, bytearray()
        cycle.flow.resume_reading()
        return bytes(body)

    def on_disconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """See `Connection`. One entry in a set instead of one task per request."""
        if (cycle := self._cycle()) is None or cycle.disconnected:
            return asyncio.get_running_loop().call_soon(callback).cancel
        self._callbacks.add(callback)
        return lambda: self._callbacks.discard(callback)
