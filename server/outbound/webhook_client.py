"""One POST to the operator's receiver: its address is looked at, and that very address is called; nothing is followed.

The URL is the operator's own, but what its name resolves to is not: a name that comes to mean this machine, or one of
the private network, is not called unless the settings say so. Promise 33.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import h11

from server.outbound.image_fetcher import is_public

TIMEOUT_S = 15.0
"""Of one call, all in all."""
CHUNK_BYTES = 16 * 1024
"""The head of an answer is no longer than this; its body is not read."""


class Receiver:
    """Who is told of events."""

    def __init__(self, url: str, *, private: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        """Calls nobody yet.

        Args:
            url: http or https, checked by the settings.
            private: Whether addresses may be called that are not public.
            timeout_s: How long one call may take.
        """
        parts = urlsplit(url)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._private = private
        self._timeout_s = timeout_s

    async def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer; a redirect is one that nobody follows.

        Raises:
            OSError: There is nobody, or somebody who may not be called; or they speak no HTTP.
            TimeoutError: They are too slow.
        """
        async with asyncio.timeout(self._timeout_s):
            name = self._host if self._tls else None
            reader, writer = await asyncio.open_connection(
                await self._address(), self._port, ssl=self._tls, server_hostname=name
            )
            try:
                return await self._exchange(reader, writer, body, headers)
            except h11.ProtocolError as error:
                raise OSError("the answer is no HTTP") from error
            finally:
                writer.transport.abort()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes, headers: Mapping[str, str]
    ) -> int:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=CHUNK_BYTES)
        told = {
            "host": self._authority,
            "user-agent": "muybridge",
            "content-length": str(len(body)),
            "connection": "close",
            **headers,
        }
        for event in (
            h11.Request(method="POST", target=self._path, headers=list(told.items())),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(CHUNK_BYTES))
            elif isinstance(event, h11.Response):
                return event.status_code
            elif isinstance(event, h11.ConnectionClosed | h11.EndOfMessage):
                raise OSError("there was no answer")

    async def _address(self) -> str:
        """The address to call: the first one, once all that the name has were looked at."""
        found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]
        if not addresses or not (self._private or all(map(is_public, addresses))):
            raise PermissionError("the receiver of webhooks has an address that is not public")
        return str(addresses[0])
