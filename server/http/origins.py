"""Which browsers and names may reach the server: a gate against DNS rebinding and cross-site requests.

A page of another site can make a browser send requests to `localhost`. Two things give it away: the Host header (under
DNS rebinding it bears the attacker's name) and the Origin or Sec-Fetch-Site header. Programs send neither Origin nor
Sec-Fetch-Site and are not hindered. CORS stays off: no reply ever allows a foreign page to read it.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from litestar.types import ASGIApp, Receive, Scope, Send

from compat.errors import RequestError
from server.http.errors import as_wire, send_error

NAME = re.compile(r"[a-z0-9_.:-]+", re.ASCII)
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@lru_cache(maxsize=64)
def host_name(value: str) -> str | None:
    """The name in a Host header, lower-cased, without its port; None where the header is malformed."""
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
    """Whether a host name is a literal IP address. Rebinding needs a name, so addresses are safe."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


class OriginGate:
    """ASGI middleware: 400 without exactly one Host, 403 for a foreign Host, Origin or cross-site fetch."""

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], origins: Iterable[str], public: bool) -> None:
        """Wraps an app.

        Args:
            app: What lies behind the gate.
            hosts: Host names allowed besides loopback's.
            origins: Foreign origins whose pages may call.
            public: Whether the server listens beyond loopback: then any literal address is an allowed Host.
        """
        self._app = app
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in hosts}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the request through, or answers it."""
        if scope["type"] == "http":
            try:
                self._check(scope["headers"])
            except RequestError as error:
                return await send_error(send, as_wire(error))
        await self._app(scope, receive, send)
        return None

    def _check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        seen: dict[bytes, list[str]] = {b"host": [], b"origin": [], b"sec-fetch-site": []}
        for name, value in headers:
            if name in seen:
                seen[name].append(value.decode("latin-1"))
        if len(seen[b"host"]) != 1 or (name := host_name(seen[b"host"][0])) is None:
            raise RequestError("A request needs exactly one well-formed Host header.", code="invalid_host")
        if name not in self._hosts and not (self._public and is_address(name)):
            raise RequestError(
                f"The host name {name!r} is not served here; the operator can add it to allowed_hosts.",
                code="host_not_allowed",
                status=403,
            )
        own = {f"http://{seen[b'host'][0].lower()}", f"https://{seen[b'host'][0].lower()}"}
        for origin in seen[b"origin"]:
            if origin.lower() not in own | self._origins:
                raise RequestError("Pages of this origin may not call.", code="origin_not_allowed", status=403)
        if not seen[b"origin"] and any(site in ("cross-site", "same-site") for site in seen[b"sec-fetch-site"]):
            raise RequestError("Pages of other sites may not call.", code="origin_not_allowed", status=403)
