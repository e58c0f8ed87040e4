"""From an exception to OpenAI's error envelope: status, type, code, param. The only such table."""

import errno
from dataclasses import dataclass, field
from typing import Any

from adapters import errors


class RequestError(Exception):
    """The request itself is wrong; raised by every parser.

    Args:
        message: What is wrong, where, and what to send instead.
        param: The field at fault, by its full path in the request.
        code: A stable identifier for programs.
        status: 4xx.
        headers: Extra response headers.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int = 400,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Stores the members of the error envelope."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status
        self.headers = headers or {}


def invalid(param: str, reason: str, *, code: str = "invalid_value") -> RequestError:
    """The 400 for a value that the server cannot accept.

    Args:
        param: The field, by its full path; "" for the whole body.
        reason: What is wrong and what to send instead, as the end of a sentence.
        code: Where another than `invalid_value` says more.
    """
    subject = f"Invalid '{param}'" if param else "Invalid request body"
    return RequestError(f"{subject}: {reason}.", param=param or None, code=code)


def missing(param: str) -> RequestError:
    """The 400 for a required field that was not sent."""
    return RequestError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def unknown(param: str) -> RequestError:
    """The 400 for a field that the route does not have."""
    return RequestError(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
STORAGE_FAILED = frozenset(
    {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.ESTALE}
)


def storage_error(error: OSError) -> RequestError:
    """The 503 for a file that the server could not write or read. The cause stays in the server's log."""
    if error.errno in DISK_FULL:
        message, code = (
            "The server's disk is full. Try again later.",
            "insufficient_storage",
        )
    elif error.errno in NO_DESCRIPTORS:
        message, code = "The server has too many open files. Try again in a few seconds.", "too_many_open_files"
    else:
        message, code = "The server cannot use its data directory. Try again later.", "storage_unavailable"
    return RequestError(message, code=code, status=503, headers={"Retry-After": "5"})


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as the client sees it."""

    status: int
    message: str
    type: str
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def body(self) -> dict[str, Any]:
        """The envelope. All four members are always present, as the SDK expects."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
}
"""OpenAI's error type by status; other 4xx are "invalid_request_error", other 5xx "server_error"."""

RETRY_SOON = {"Retry-After": "1"}
NO_RETRY = {"x-should-retry": "false"}
"""For a 5xx that would fail again the same way. The SDK obeys this header."""

ADAPTER_ERRORS: dict[type[errors.AdapterError], tuple[int, str, dict[str, str]]] = {
    errors.ModelNotFound: (404, "model_not_found", {}),
    errors.WrongModelKind: (400, "model_not_supported", {}),
    errors.ModelLoadFailed: (503, "model_load_failed", NO_RETRY),
    errors.ModelBusy: (503, "model_busy", RETRY_SOON),
    errors.CallerBusy: (429, "rate_limit_exceeded", RETRY_SOON),
    errors.OutOfMemory: (503, "out_of_memory", RETRY_SOON),
    errors.InvalidMedia: (400, "invalid_media", {}),
    errors.UnsupportedOption: (400, "unsupported_parameter", {}),
    errors.ContextLengthExceeded: (400, "context_length_exceeded", {}),
    errors.GenerationFailed: (500, "generation_failed", NO_RETRY),
    errors.Interrupted: (503, "interrupted", RETRY_SOON),
}
"""Status, code and headers of each leaf of `adapters.errors`."""


def type_of(status: int) -> str:
    """OpenAI's error type for an HTTP status."""
    return TYPES.get(status) or (TYPES[400] if status < 500 else TYPES[500])


def wire_error(error: BaseException) -> WireError:
    """The error that a client sees for an exception. An unknown one is a 500 that does not reveal its cause."""
    if isinstance(error, RequestError):
        return WireError(
            error.status, error.message, type_of(error.status), error.param, error.code, dict(error.headers)
        )
    if isinstance(error, errors.AdapterError):
        status, code, headers = ADAPTER_ERRORS[type(error)]
        param = error.param or ("model" if isinstance(error, errors.ModelNotFound | errors.WrongModelKind) else None)
        return WireError(status, error.message, type_of(status), param, code, dict(headers))
    if isinstance(error, OSError) and error.errno in DISK_FULL | NO_DESCRIPTORS | STORAGE_FAILED:
        return wire_error(storage_error(error))
    return WireError(500, "The server had an error while processing your request.", type_of(500), code="internal_error")
