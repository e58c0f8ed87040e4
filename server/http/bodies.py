"""Reading request bodies: JSON and multipart, with limits, strictly UTF-8, files streamed to disk.

Litestar's own parsers are not used: they decode with the client's charset and have no limits.
"""

import asyncio
import fcntl
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import multipart
from litestar import Request

from compat.errors import RequestError
from server.http.multipart import MAX_FIELDS, Form, Segments
from server.http.streaming import connection_of

IDLE_TIMEOUT_S = 30.0
"""The longest pause while a body arrives."""
INLINE_BYTES = 64 * 1024
"""Larger JSON is decoded in a thread, so that it does not block the event loop."""
MAX_JSON_VALUES = 1_000_000
MAX_INT = 2**63
"""Integers beyond 64 bits have no meaning in this API, and some libraries fail on them."""
READ_BY_MODELS = frozenset({
    "messages", "input", "instructions", "prompt", "suffix", "tools", "functions", "questions", "prediction",
    "metadata", "client_metadata",
})  # fmt: skip
"""Fields of JSON bodies that hold conversations and texts, where tools and files may leave any character."""
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
_RAW_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class BodyReader:
    """Reads request bodies within the server's limits."""

    def __init__(self, uploads_dir: Path, *, max_json_bytes: int, max_upload_bytes: int, timeout_s: float) -> None:
        """Creates a directory for uploads of this process, and removes those of servers that were killed."""
        self._max_json_bytes = max_json_bytes
        self._max_upload_bytes = max_upload_bytes
        self._timeout_s = timeout_s
        self._dir, self._lock = _claim_directory(uploads_dir)

    async def json(self, request: Request[Any, Any, Any]) -> dict[str, Any]:
        """The JSON object of a request.

        Raises:
            RequestError: 400, the body is not a JSON object; 408, 413, 415.
        """
        return await decode_json(await self.json_bytes(request))

    async def json_bytes(self, request: Request[Any, Any, Any]) -> bytes:
        """The undecoded body of a JSON request.

        Raises:
            RequestError: 408, 413, 415.
        """
        media_type, options = _content_type(request)
        if media_type != "application/json" or options.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
            raise RequestError(
                "The body must be JSON. Send it in UTF-8, with the header `Content-Type: application/json`.", status=415
            )
        if (whole := _buffered_body(request, self._max_json_bytes)) is not None:
            return whole
        return b"".join([chunk async for chunk in self._receive_chunks(request, self._max_json_bytes)])

    async def optional_json(self, request: Request[Any, Any, Any]) -> dict[str, Any]:
        """The JSON object of a request whose body is optional; {} when there is none. Raises as `json`."""
        if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
            return {}
        return await self.json(request)

    @asynccontextmanager
    async def form(self, request: Request[Any, Any, Any]) -> AsyncGenerator[Form]:
        """The multipart form of a request, or its JSON object. The files are removed when the context ends.

        Raises:
            RequestError: 400, the body is malformed; 408, 413, 415.
        """
        media_type, options = _content_type(request)
        is_json = media_type == "application/json"
        if not is_json and (media_type != "multipart/form-data" or "boundary" not in options):
            raise RequestError(
                "The body must be a form or JSON. Send it with the header `Content-Type: multipart/form-data` and a "
                "boundary, or with `application/json`.",
                status=415,
            )
        folder = self._dir / secrets.token_hex(16)
        await asyncio.to_thread(folder.mkdir, mode=0o700)
        try:
            if is_json:
                yield Form(json=await self.json(request), folder=folder)
            else:
                yield await self._multipart(request, options["boundary"], folder)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _chunks(self, request: Request[Any, Any, Any], limit: int) -> AsyncGenerator[bytes]:
        if (whole := _buffered_body(request, limit)) is not None:
            yield whole
            return
        async for chunk in self._receive_chunks(request, limit):
            yield chunk

    async def _receive_chunks(self, request: Request[Any, Any, Any], limit: int) -> AsyncGenerator[bytes]:
        deadline = time.monotonic() + self._timeout_s
        received, more = 0, True
        while more:
            timeout_s = min(IDLE_TIMEOUT_S, deadline - time.monotonic())
            try:
                async with asyncio.timeout(timeout_s):  # `wait_for` would create a task
                    message = await request.receive()
            except TimeoutError:
                raise RequestError(
                    f"The body did not arrive in time. Send it within {self._timeout_s:g} s, without pauses of more "
                    f"than {IDLE_TIMEOUT_S:g} s.",
                    status=408,
                ) from None
            if message["type"] != "http.request":
                raise RequestError("The connection was closed before the end of the body.", status=400)
            received += len(message["body"])
            if received > limit:
                raise _too_large(limit)
            more = message["more_body"]
            yield message["body"]

    async def _multipart(self, request: Request[Any, Any, Any], boundary: str, folder: Path) -> Form:
        form = Form(folder=folder)
        segments = Segments(form, folder)
        try:
            parser = multipart.PushMultipartParser(
                boundary,
                strict=True,
                max_segment_size=self._max_upload_bytes,
                max_segment_count=MAX_FIELDS,
                header_charset="utf8",
            )
            with parser:
                async for chunk in self._chunks(request, self._max_upload_bytes):
                    await asyncio.to_thread(segments.feed, parser.parse(chunk))
                segments.feed(parser.parse(b""))
        except multipart.MultipartError as error:
            raise RequestError(
                f"The multipart body is malformed: {error}. Send a valid multipart/form-data body."
            ) from None
        except UnicodeDecodeError:
            raise RequestError("A text field of the form is not valid UTF-8. Send all text fields in UTF-8.") from None
        finally:
            segments.close()
        return form


async def decode_json(body: bytes) -> dict[str, Any]:
    """Decodes a JSON object.

    Raises:
        RequestError: 400, 413.
    """
    return _decode(body) if len(body) < INLINE_BYTES else await asyncio.to_thread(_decode, body)


def _claim_directory(parent: Path) -> tuple[Path, int]:
    """Creates a locked directory under `parent`, and removes those whose process has ended.

    The kernel releases the lock of an ended process, whatever ended it and in whichever container it ran.
    """
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for lock in parent.glob("*.lock"):
        descriptor = os.open(lock, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # its server is running
        finally:
            os.close(descriptor)
    own = parent / secrets.token_hex(8)
    descriptor = os.open(own.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    own.mkdir(mode=0o700)
    return own, descriptor


def _buffered_body(request: Request[Any, Any, Any], limit: int) -> bytes | None:
    """The body, if it has arrived completely; None when it is still to be received.

    Raises:
        RequestError: 413, 415.
    """
    if _header(request, b"content-encoding", "identity") != "identity":
        raise RequestError(
            "The body is compressed, which is not supported. Send it without Content-Encoding.", status=415
        )
    announced = _header(request, b"content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    connection = connection_of(request.scope)
    body = None if connection is None else connection.body()
    if body is not None and len(body) > limit:
        raise _too_large(limit)
    return body


def _header(request: Request[Any, Any, Any], name: bytes, default: str) -> str:
    """The first value of a header. Litestar would build a dictionary of all headers."""
    found = (value for key, value in request.scope["headers"] if key == name)
    return next(found, default.encode()).decode("latin-1")


def _content_type(request: Request[Any, Any, Any]) -> tuple[str, dict[str, str]]:
    media_type, options = multipart.parse_options_header(_header(request, b"content-type", ""))
    return media_type.lower(), options


def _too_large(limit: int) -> RequestError:
    return RequestError(
        f"The body is larger than {limit} bytes. Send a smaller one.", code="request_too_large", status=413
    )


def _decode(body: bytes) -> dict[str, Any]:
    # Decoding blocks the interpreter, for a time that depends on the number of values, not of bytes.
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > MAX_JSON_VALUES:
        raise RequestError(
            f"The JSON has more than {MAX_JSON_VALUES} values. Send fewer.", code="request_too_large", status=413
        )
    body = _RAW_SURROGATE.sub("\ufffd".encode(), body) if b"\xed" in body else body
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise RequestError("The JSON is nested too deeply. Send a flatter object.", code="invalid_json") from None
    except ValueError as error:  # msgspec's errors and bad UTF-8
        value = _with_lone_surrogates(body, error)
    if not isinstance(value, dict):
        raise RequestError('The body must be a JSON object, such as {"model": "..."}.', code="invalid_json")
    try:
        return _checked(value)  # pyright: ignore[reportUnknownArgumentType] - JSON
    except RecursionError:
        raise RequestError("The JSON is nested too deeply. Send a flatter object.", code="invalid_json") from None


def _with_lone_surrogates(body: bytes, error: ValueError) -> Any:
    """The JSON by the standard library, which accepts escapes of lone surrogates, where these may be the fault."""
    if _ESCAPED_SURROGATE.search(body) is not None:
        with suppress(ValueError, RecursionError):
            return json.loads(body, parse_constant=_no_constant)
    raise RequestError(f"The body is not valid JSON: {error}.", code="invalid_json") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    """The body, with U+FFFD for NUL and lone surrogates in what a model reads; both are refused elsewhere.

    Raises:
        RequestError: 400, another field has such a character, or an integer is beyond 64 bits.
    """
    cleaned: dict[str, Any] = {}
    for name, value in body.items():
        if _check_values([name, value]):
            if name not in READ_BY_MODELS:
                shown = name[:64].encode("ascii", "replace").decode()
                raise RequestError(
                    f"Invalid '{shown}': it contains a NUL character or a lone surrogate. Remove it.",
                    param=shown,
                    code="invalid_json",
                )
            cleaned[name] = _cleaned(value)
    return {**body, **cleaned} if cleaned else body


def _check_values(stack: list[Any]) -> bool:
    """Whether there are NUL characters or lone surrogates; rejects integers beyond 64 bits."""
    found = False
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            found = found or _UNREADABLE.search(item) is not None
        elif isinstance(item, dict):
            stack.extend(item.keys())  # pyright: ignore[reportUnknownArgumentType] - JSON
            stack.extend(item.values())  # pyright: ignore[reportUnknownArgumentType] - JSON
        elif isinstance(item, list):
            stack.extend(item)  # pyright: ignore[reportUnknownArgumentType] - JSON
        elif isinstance(item, int) and not -MAX_INT <= item < MAX_INT:
            raise RequestError(
                f"An integer in the JSON is out of range. Send values from {-MAX_INT} to {MAX_INT - 1}.",
                code="invalid_json",
            )
    return found


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _UNREADABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        items: Any = value.items()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
        return {_cleaned(key): _cleaned(item) for key, item in items}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - JSON
    return value
