"""Images from the web, where the operator allows it: the only place from which this server calls out for a client.

A URL is a way to make this server speak to what only it can reach. So: http and https on their own ports, no
credentials; a name is resolved once, every address it has must be a public one, and that very address is connected to;
each redirect is looked at in the same way, and none goes from https to http; bytes and time are limited; no proxy of
the environment is used. Promise 22.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from urllib.parse import urljoin, urlsplit

import h11

from adapters.base import Media
from compat.errors import RequestError
from compat.media import MAX_IMAGE_BYTES

MAX_URL = 2048
MAX_HOPS = 3
TIMEOUT_S = 15.0
"""For all hops together."""
CHUNK_BYTES = 64 * 1024
PORTS = {"http": 80, "https": 443}
REDIRECTS = (301, 302, 303, 307, 308)
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")
PLAIN = re.compile("[!-~]+")
"""ASCII without spaces and control characters."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet, also where an IPv6 address only wraps one of IPv4."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


class _Refused(Exception):
    """Why an image is not fetched; for the client to read."""


@dataclass(frozen=True, slots=True)
class _Target:
    """A URL that may be asked."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str, *, any_port: bool) -> "_Target":
        """The parts of a URL.

        Raises:
            _Refused: It is none of ours.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise _Refused("the URL is malformed") from None
        if parts.scheme not in PORTS or not host or len(url) > MAX_URL or not PLAIN.fullmatch(url):
            raise _Refused("it takes an http or https URL, in ASCII, without spaces")
        if "@" in parts.netloc:
            raise _Refused("the URL holds credentials")
        if port not in (None, PORTS[parts.scheme]) and not any_port:
            raise _Refused("the URL names a port")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, port or PORTS[parts.scheme], path)

    @property
    def authority(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


class Fetcher:
    """Gets images from the web."""

    def __init__(
        self,
        *,
        allowed: Callable[[Address], bool] = is_public,
        any_port: bool = False,
        max_bytes: int = MAX_IMAGE_BYTES,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """The defaults are what a server uses; tests have no public address to call."""
        self._allowed = allowed
        self._any_port = any_port
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def fetch(self, url: str, *, param: str) -> Media:
        """The image at a URL, undecoded.

        Raises:
            RequestError: 400, naming `param`: the URL may not be followed, or there is no image behind it.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(url)
        except _Refused as error:
            reason = str(error)
        except (OSError, TimeoutError, ssl.SSLError, h11.ProtocolError, UnicodeError):
            # One message for what is not there, what is not public and what is too slow: else this would be a scanner.
            reason = "there is no public server that answered in time"
        raise RequestError(f"Invalid '{param}': the image was not fetched: {reason}.", param=param, code="image_fetch")

    async def _follow(self, url: str) -> Media:
        for _ in range(MAX_HOPS + 1):
            target = _Target.of(url, any_port=self._any_port)
            found = await self._ask(target)
            if isinstance(found, Media):
                return found
            url = urljoin(url, found)
            if target.scheme == "https" and not url.startswith("https:"):
                raise _Refused("a redirect leads from https to elsewhere")
        raise _Refused(f"there are more than {MAX_HOPS} redirects")

    async def _ask(self, target: _Target) -> Media | str:
        """The image, or where it is said to be."""
        address = await self._resolved(target)
        tls = _tls() if target.scheme == "https" else None
        name = target.host if tls else None
        reader, writer = await asyncio.open_connection(address, target.port, ssl=tls, server_hostname=name)
        try:
            connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=CHUNK_BYTES)
            headers = [
                ("Host", target.authority),
                ("User-Agent", "muybridge"),
                ("Accept", ", ".join(MEDIA_TYPES)),
                ("Accept-Encoding", "identity"),
                ("Connection", "close"),
            ]
            sent = connection.send(h11.Request(method="GET", target=target.path, headers=headers))
            writer.write((sent or b"") + (connection.send(h11.EndOfMessage()) or b""))
            await writer.drain()
            return await self._read(connection, reader)
        finally:
            writer.transport.abort()

    async def _resolved(self, target: _Target) -> str:
        """The address to connect to: the first one, once all of them have been looked at."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]
        if not addresses or not all(map(self._allowed, addresses)):
            raise OSError("not public")
        return str(addresses[0])

    async def _read(self, connection: h11.Connection, reader: asyncio.StreamReader) -> Media | str:
        media_type, data = "", bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(CHUNK_BYTES))
            elif isinstance(event, h11.Response):
                headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in event.headers}
                if event.status_code in REDIRECTS and "location" in headers:
                    return headers["location"]
                media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
                self._check(event.status_code, media_type, headers)
            elif isinstance(event, h11.Data):
                data += event.data
                if len(data) > self._max_bytes:
                    raise _Refused(f"it is larger than {self._max_bytes} bytes")
            elif isinstance(event, h11.EndOfMessage):
                return Media(media_type, bytes(data))
            elif isinstance(event, h11.ConnectionClosed):
                raise _Refused("the connection ended early")

    def _check(self, status: int, media_type: str, headers: dict[str, str]) -> None:
        if status != 200:
            raise _Refused(f"the server there answered {status}")
        if media_type not in MEDIA_TYPES:
            raise _Refused(f"there is no image of {', '.join(MEDIA_TYPES)}")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise _Refused("it came compressed")
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise _Refused(f"it is larger than {self._max_bytes} bytes")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
