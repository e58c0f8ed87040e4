"""One HTTP/1.1 request to a checked address: no connection pool, no proxy from the environment, no redirects."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

import h11

from server.outbound.public_address import Address, is_public, resolve

PORTS = {"http": 80, "https": 443}
READ_BYTES = 64 * 1024
"""How much is read at once, and the largest head of a response."""


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of an http or https URL that a request needs."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""

    @classmethod
    def parse(cls, url: str) -> "Url":
        """Splits a URL.

        Raises:
            ValueError: The URL is malformed, or is not http or https.
        """
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError("not an http or https URL with a host")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        port = PORTS[parts.scheme] if parts.port is None else parts.port
        return cls(parts.scheme, parts.hostname, port, target)

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose body has not been read yet."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: AsyncGenerator[bytes]


@asynccontextmanager
async def send(
    method: str,
    url: Url,
    headers: Mapping[str, str],
    *,
    body: bytes | None = None,
    allowed: Callable[[Address], bool] = is_public,
) -> AsyncGenerator[Response]:
    """Sends a request. The connection is closed when the context ends, whether or not the body was read.

    Args:
        method: GET or POST.
        url: Where the request goes.
        headers: Headers besides Host, User-Agent, Content-Length and Connection.
        body: The body of the request. None sends no body and no Content-Length.
        allowed: Which addresses may be connected to.

    Yields:
        The response, as soon as its head has arrived.

    Raises:
        OSError: The host cannot be reached, must not be connected to, or does not answer in HTTP/1.1. Reading the
            body raises it as well.
    """
    address = await resolve(url.host, url.port, allowed)
    tls = _tls() if url.scheme == "https" else None
    reader, writer = await asyncio.open_connection(
        address, url.port, ssl=tls, server_hostname=url.host if tls else None
    )
    sent = {"Host": url.authority, "User-Agent": "muybridge", "Connection": "close", **headers}
    if body is not None:
        sent["Content-Length"] = str(len(body))
    try:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=READ_BYTES)
        writer.write(connection.send(h11.Request(method=method, target=url.target, headers=list(sent.items()))) or b"")
        if body is not None:
            writer.write(connection.send(h11.Data(data=body)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        async with aclosing(_events(connection, reader)) as events, aclosing(_data(events)) as data:
            head = await anext(events)
            while isinstance(head, h11.InformationalResponse):
                head = await anext(events)
            assert isinstance(head, h11.Response)
            received = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head.headers}
            yield Response(head.status_code, received, data)
    except h11.ProtocolError as error:
        raise ConnectionError("the answer is not valid HTTP/1.1") from error
    finally:
        writer.transport.abort()


async def _events(connection: h11.Connection, reader: asyncio.StreamReader) -> AsyncGenerator[h11.Event]:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.InformationalResponse | h11.Response | h11.Data):
            yield event
        elif isinstance(event, h11.EndOfMessage):
            return
        else:  # ConnectionClosed or PAUSED
            raise ConnectionError("the connection was closed before the end of the answer")


async def _data(events: AsyncGenerator[h11.Event]) -> AsyncGenerator[bytes]:
    async for event in events:
        if isinstance(event, h11.Data):
            yield bytes(event.data)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
