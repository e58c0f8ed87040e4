"""Who may call. Every path needs a key, documentation and metrics too; only the two health checks do not."""

import hashlib
import hmac
from collections.abc import Iterable

from litestar.types import ASGIApp, Receive, Scope, Send

from compat.errors import RequestError
from server.http.errors import as_wire, send_error

OPEN_PATHS = frozenset({b"/health/live", b"/health/ready"})
"""Compared with the raw path, byte by byte: nothing is decoded or normalised before the decision."""
EVERYONE = "everyone"
"""The owner of all objects where no keys are configured."""


def digest(key: bytes) -> bytes:
    """What is kept of a key: its SHA-256."""
    return hashlib.sha256(key).digest()


def require_admin(scope: Scope) -> None:
    """Lets through only who may change what is served.

    Raises:
        RequestError: 403.
    """
    if not scope["state"]["admin"]:
        raise RequestError("This needs an admin key.", code="admin_key_required", status=403)


class KeyGate:
    """ASGI middleware: 401 without a known `Authorization: Bearer` key, where keys are configured.

    Puts the caller into `scope["state"]["owner"]`: a short name of the key, for objects that only their maker may see;
    and into `scope["state"]["admin"]` whether it may also change what is served.
    """

    def __init__(self, app: ASGIApp, keys: Iterable[str], admin_keys: Iterable[str] = ()) -> None:
        """Wraps an app; with no keys at all, everyone on this machine may call, and change what is served."""
        admin_keys = tuple(admin_keys)
        self._app = app
        self._admins = frozenset(digest(key.encode()).hex()[:16] for key in admin_keys)
        self._digests = tuple({digest(key.encode()) for key in (*keys, *admin_keys)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the request through, or answers it."""
        if scope["type"] == "http":
            try:
                owner = scope["state"]["owner"] = self._owner(scope)
                scope["state"]["admin"] = not self._digests or owner in self._admins
            except RequestError as error:
                return await send_error(send, as_wire(error))
        await self._app(scope, receive, send)
        return None

    def _owner(self, scope: Scope) -> str:
        if not self._digests or scope["raw_path"] in OPEN_PATHS:
            return EVERYONE
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, key = (given[0] if len(given) == 1 else b"").partition(b" ")
        if not key or scheme.lower() != b"bearer":
            raise RequestError(
                "You did not provide an API key: send it as `Authorization: Bearer YOUR_KEY`.",
                code="missing_api_key",
                status=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        known, owner = digest(key.strip()), ""
        for candidate in self._digests:  # all of them, always: the time taken tells nothing
            if hmac.compare_digest(known, candidate):
                owner = candidate.hex()[:16]
        if not owner:
            raise RequestError(
                "Incorrect API key provided.",
                code="invalid_api_key",
                status=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        return owner
