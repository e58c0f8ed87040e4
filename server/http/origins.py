"""Host and Origin checks: protection against DNS rebinding and cross-site requests.

A web page can make a browser send requests to `localhost`. Such requests show in the Host header (under DNS rebinding
it is the attacker's host name) and in the Origin or Sec-Fetch-Site header. Programs other than browsers send neither
Origin nor Sec-Fetch-Site and are not affected. CORS is off: no reply allows pages of other sites to read it.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from compat.errors import RequestError
from server.http.auth import OPEN_PATHS
from server.http.errors import send_error, to_wire_error

NAME = re.compile(r"[a-z0-9_.:-]+", re.ASCII)
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@lru_cache(maxsize=64)
def host_name(value: str) -> str | None:
    """The name in a Host header, in lower case and without the port; None when the header is malformed."""
    try:
        parts = urlsplit(f"//{value}")
        _ = parts.port
    except ValueError:
        return None
    if not NAME.fullmatch(parts.hostname or ""):
        return None
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    name = parts.hostname or ""
    return f"[{name}]" if ":" in name else name


def is_address(name: str) -> bool:
    """Whether a host name is an IP address. DNS rebinding needs a name, so addresses are safe."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _may_lack_host(scope: HTTPScope) -> bool:
    """Whether it is a health check of HTTP/1.0, as load balancers send them. Browsers always send a Host header."""
    return scope["http_version"] == "1.0" and scope["raw_path"] in OPEN_PATHS


class OriginMiddleware:
    """ASGI middleware: 400 without exactly one Host header, 403 for an unknown Host, Origin or a cross-site request."""

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], origins: Iterable[str], public: bool) -> None:
        """Wraps an application.

        Args:
            app: The application.
            hosts: Allowed host names besides those of the loopback interface.
            origins: Other origins whose pages may send requests.
            public: Whether the server listens beyond loopback. Then every IP address is an allowed host.
        """
        self._app = app
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in hosts}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or replies with 400 or 403."""
        if scope["type"] == "http":
            try:
                self._check(scope["headers"], optional_host=_may_lack_host(scope))
            except RequestError as error:
                return await send_error(send, to_wire_error(error))
        await self._app(scope, receive, send)
        return None

    def _check(self, headers: Iterable[tuple[bytes, bytes]], *, optional_host: bool) -> None:
        seen: dict[bytes, list[str]] = {b"host": [], b"origin": [], b"sec-fetch-site": []}
        for name, value in headers:
            if name in seen:
                seen[name].append(value.decode("latin-1"))
        if optional_host and not any(seen.values()):
            return
        if len(seen[b"host"]) != 1 or (name := host_name(seen[b"host"][0])) is None:
            raise RequestError(
                "The Host header is missing, repeated or malformed. Send exactly one, as HOST or HOST:PORT.",
                code="invalid_host",
            )
        if name not in self._hosts and not (self._public and is_address(name)):
            raise RequestError(
                f"The host name {name!r} is not allowed. Use the server's own address, or ask the operator to add the "
                "name to allowed_hosts.",
                code="host_not_allowed",
                status=403,
            )
        own = {f"http://{seen[b'host'][0].lower()}", f"https://{seen[b'host'][0].lower()}"}
        for origin in seen[b"origin"]:
            if origin.lower() not in own | self._origins:
                raise RequestError(
                    "Pages of this origin may not send requests. Ask the operator to add it to allowed_origins.",
                    code="origin_not_allowed",
                    status=403,
                )
        if not seen[b"origin"] and any(site in ("cross-site", "same-site") for site in seen[b"sec-fetch-site"]):
            raise RequestError(
                "Pages of other sites may not send requests. Ask the operator to add the site to allowed_origins.",
                code="origin_not_allowed",
                status=403,
            )
