"""From an exception to a response: the envelope of `compat.errors` as bytes, and a log line with the request id."""

from typing import Any, cast

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Send

from compat.errors import RequestError, WireError, wire_error

log = structlog.get_logger()


def error_body(error: WireError) -> bytes:
    """The envelope, encoded."""
    return msgspec.json.encode(error.body())


async def send_error(send: Send, error: WireError) -> None:
    """Answers a request that has not reached a route."""
    body = error_body(error)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
    await send(
        {
            "type": "http.response.start",
            "status": error.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})


def as_wire(error: BaseException) -> WireError:
    """What to tell of any exception; those of the server's own making are logged with their traceback."""
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            error = RequestError("There is nothing under this URL.", code="unknown_url", status=404)
        elif error.status_code == 405:
            error = RequestError("This URL does not take that method.", code="method_not_allowed", status=405)
        elif isinstance(error, ValidationException):
            error = _invalid_parameter(error)
        elif error.status_code < 500:
            error = RequestError(str(error.detail), status=error.status_code)
    shown = wire_error(error)
    if shown.status >= 500:
        log.error("request failed", status=shown.status, code=shown.code, exc_info=error)
    return shown


def _invalid_parameter(error: ValidationException) -> RequestError:
    """What Litestar says of a query parameter, without the URL that it repeats."""
    known = cast(list[dict[str, str]], error.extra) if isinstance(error.extra, list) else []
    first = next(iter(known), dict[str, str]())
    name = first.get("key")
    return RequestError(f"Invalid '{name or 'query'}': {first.get('message')}.", param=name, code="invalid_value")


def to_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's handler of every exception."""
    del request
    shown = as_wire(error)
    return Response(error_body(shown), status_code=shown.status, headers=shown.headers, media_type="application/json")
