"""API keys. All paths need a key, including the metrics; only the health checks do not."""

import hashlib
import hmac
from collections.abc import Iterable

from litestar.types import ASGIApp, Receive, Scope, Send

from adapters.pool.fair_share import CALLER
from compat.errors import RequestError
from server.http.errors import send_error, to_wire_error

OPEN_PATHS = frozenset({b"/health", b"/health/live", b"/health/ready"})
"""Compared with the raw path, byte by byte, without decoding or normalising it."""
EVERYONE = "everyone"
"""The owner of all objects when no keys are configured."""


def digest(key: bytes) -> bytes:
    """The SHA-256 of a key. Keys themselves are not kept."""
    return hashlib.sha256(key).digest()


def require_admin(scope: Scope) -> None:
    """Requires an admin key.

    Raises:
        RequestError: 403, the request has no admin key.
    """
    if not scope["state"]["admin"]:
        raise RequestError(
            "This route needs an admin key. Send one of the server's admin_keys as the API key.",
            code="admin_key_required",
            status=403,
        )


class ApiKeyMiddleware:
    """ASGI middleware: 401 without a known `Authorization: Bearer` key, when keys are configured.

    Sets `scope["state"]["owner"]`, a short id of the key that owns the objects it creates, and
    `scope["state"]["admin"]`, whether the key may manage models.
    """

    def __init__(self, app: ASGIApp, keys: Iterable[str], admin_keys: Iterable[str] = ()) -> None:
        """Wraps an application. Without any keys, all callers on this machine are allowed, as admins."""
        admin_keys = tuple(admin_keys)
        self._app = app
        self._admins = frozenset(digest(key.encode()).hex()[:16] for key in admin_keys)
        self._digests = tuple({digest(key.encode()) for key in (*keys, *admin_keys)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or replies with 401."""
        if scope["type"] == "http":
            try:
                owner = scope["state"]["owner"] = self._owner(scope)
                scope["state"]["admin"] = not self._digests or owner in self._admins
                CALLER.set(owner if self._digests else (scope.get("client") or ("local",))[0])
            except RequestError as error:
                return await send_error(send, to_wire_error(error))
        await self._app(scope, receive, send)
        return None

    def _owner(self, scope: Scope) -> str:
        if not self._digests or scope["raw_path"] in OPEN_PATHS:
            return EVERYONE
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, key = (given[0] if len(given) == 1 else b"").partition(b" ")
        if not key or scheme.lower() != b"bearer":
            raise RequestError(
                "The API key is missing. Send it in the header `Authorization: Bearer YOUR_KEY`.",
                code="missing_api_key",
                status=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        known, owner = digest(key.strip()), ""
        for candidate in self._digests:  # compare with all keys, so that the time reveals nothing
            if hmac.compare_digest(known, candidate):
                owner = candidate.hex()[:16]
        if not owner:
            raise RequestError(
                "The API key is incorrect. Send a key that the server's operator has configured.",
                code="invalid_api_key",
                status=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        return owner
