"""What route handlers read from a request besides its body."""

from typing import Any, cast

from litestar import Request
from litestar.types import Scope

AnyRequest = Request[Any, Any, Any]


def services_of(scope: Scope) -> Any:
    """The `Services` of the application, for handlers without dependency injection."""
    return cast(Any, scope)["litestar_app"].state.services


def owner_of(request: AnyRequest) -> str:
    """The owner of a request: an opaque id of its API key, set by `server/http/auth.py`."""
    return request.scope["state"]["owner"]
