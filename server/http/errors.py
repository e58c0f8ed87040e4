"""From an exception to a reply: the encoded error envelope of `compat.errors`, and a log line for server errors."""

import re
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Send

from adapters.errors import AdapterError
from compat.errors import RequestError, WireError, invalid, wire_error
from compat.validation import any_of

log = structlog.get_logger()


def error_body(error: WireError) -> bytes:
    """The error envelope as JSON."""
    return msgspec.json.encode(error.body())


async def send_error(send: Send, error: WireError) -> None:
    """Sends an error from ASGI middleware."""
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


def to_wire_error(error: BaseException) -> WireError:
    """The error that a client gets for an exception. Errors of the server (5xx) are logged.

    Those that an exception of another kind has caused are logged with the traceback. A server that refuses requests
    because it is busy would fill its log with tracebacks otherwise.
    """
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            error = RequestError(
                "There is no route with this URL. Check the path; all routes of the API start with /v1.",
                code="unknown_url",
                status=404,
            )
        elif error.status_code == 405:
            error = RequestError(
                "This URL does not support that HTTP method. Check the method in the documentation of the route.",
                code="method_not_allowed",
                status=405,
            )
        elif isinstance(error, ValidationException):
            error = _invalid_parameter(error)
        elif error.status_code < 500:
            error = RequestError(str(error.detail), status=error.status_code)
    wire = wire_error(error)
    if wire.status >= 500:
        expected = isinstance(error, RequestError | AdapterError) and error.__cause__ is None and wire.status == 503
        log.error("request failed", status=wire.status, code=wire.code, exc_info=None if expected else error)
    return wire


_LIMIT = re.compile(r"Expected `\w+` (>=|<=) (\S+)")
_TYPE = re.compile(r"Expected `(\w+)")
_TYPES = {"int": "an integer", "float": "a number", "bool": "true or false"}


def _invalid_parameter(error: ValidationException, allowed: Sequence[Any] = ()) -> RequestError:
    """The error of a query parameter, in the words of `compat.validation` and not of msgspec.

    Args:
        error: Litestar's.
        allowed: The values that the parameter may have, if it is one of a few.
    """
    known = cast(list[dict[str, str]], error.extra) if isinstance(error.extra, list) else []
    first = next(iter(known), dict[str, str]())
    name, message = first.get("key") or "query", first.get("message", "")
    if allowed:
        reason = f"must be {any_of(list(map(repr, allowed)))}"
    elif limit := _LIMIT.match(message):
        reason = f"must be at {'least' if limit[1] == '>=' else 'most'} {limit[2]}"
    else:
        found = _TYPE.match(message)
        reason = f"must be {_TYPES.get(found[1] if found else '', 'a value of another type')}"
    return invalid(name, reason)


def _allowed(request: Request[Any, Any, Any], error: ValidationException) -> Sequence[Any]:
    """The values of the parameter at fault, where its annotation is a `Literal`."""
    known = cast(list[dict[str, str]], error.extra) if isinstance(error.extra, list) else []
    parameters = request.route_handler.parsed_fn_signature.parameters
    field = next((parameters[one["key"]] for one in known if one.get("key") in parameters), None)
    return () if field is None or not field.is_literal else field.args


def to_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler."""
    if isinstance(error, ValidationException):
        error = _invalid_parameter(error, _allowed(request, error))
    wire = to_wire_error(error)
    return Response(error_body(wire), status_code=wire.status, headers=wire.headers, media_type="application/json")
