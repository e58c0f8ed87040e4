"""Intake of request bodies: JSON and multipart, under limits, strictly UTF-8, files streamed to disk.

Litestar's own parsers are not used: they decode by the client's charset and have no limits of their own.
"""

import asyncio
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import multipart
from litestar import Request

from compat.errors import RequestError
from server.http.multipart import MAX_FIELDS, Form, Segments
from server.http.streaming import connection_of

SILENCE_S = 30.0
"""A body may pause this long."""
INLINE_BYTES = 64 * 1024
"""Larger JSON is decoded in a thread, so that the loop goes on."""
MAX_JSON_VALUES = 1_000_000
MAX_INT = 2**63
"""Larger whole numbers in JSON have no meaning in this API, and some libraries choke on them."""


class Intake:
    """Reads request bodies within the server's limits."""

    def __init__(self, uploads_dir: Path, *, max_json_bytes: int, max_upload_bytes: int, timeout_s: float) -> None:
        """Makes this process a private directory for uploads, and clears away those of servers that died."""
        self._max_json_bytes = max_json_bytes
        self._max_upload_bytes = max_upload_bytes
        self._timeout_s = timeout_s
        self._dir, self._lock = _claim(uploads_dir)

    async def json(self, request: Request[Any, Any, Any]) -> dict[str, Any]:
        """The JSON object of a request.

        Raises:
            RequestError: 400 for what is not a JSON object, 408, 413, 415.
        """
        return await decoded(await self.body(request))

    async def body(self, request: Request[Any, Any, Any]) -> bytes:
        """The bytes of a request that says it is JSON.

        Raises:
            RequestError: 408, 413, 415.
        """
        media_type, options = _content_type(request)
        if media_type != "application/json" or options.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
            raise RequestError("Send JSON in UTF-8, with `Content-Type: application/json`.", status=415)
        if (whole := _arrived(request, self._max_json_bytes)) is not None:
            return whole
        return b"".join([part async for part in self._pieces(request, self._max_json_bytes)])

    async def optional_json(self, request: Request[Any, Any, Any]) -> dict[str, Any]:
        """The JSON object of a request that may do without a body. Raises as `json`."""
        if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
            return {}
        return await self.json(request)

    @asynccontextmanager
    async def form(self, request: Request[Any, Any, Any]) -> AsyncGenerator[Form]:
        """The multipart form of a request, or its JSON object. The files live as long as the context.

        Raises:
            RequestError: 400 for a malformed body, 408, 413, 415.
        """
        media_type, options = _content_type(request)
        is_json = media_type == "application/json"
        if not is_json and (media_type != "multipart/form-data" or "boundary" not in options):
            raise RequestError("Send `multipart/form-data`, or JSON where the route takes it.", status=415)
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
        if (whole := _arrived(request, limit)) is not None:
            yield whole
            return
        async for piece in self._pieces(request, limit):
            yield piece

    async def _pieces(self, request: Request[Any, Any, Any], limit: int) -> AsyncGenerator[bytes]:
        deadline = time.monotonic() + self._timeout_s
        received, more = 0, True
        while more:
            patience = min(SILENCE_S, deadline - time.monotonic())
            try:
                async with asyncio.timeout(patience):  # `wait_for` would make a task of it
                    message = await request.receive()
            except TimeoutError:
                raise RequestError("The body did not arrive in time.", status=408) from None
            if message["type"] != "http.request":
                raise RequestError("The body was cut off.", status=400)
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
            raise RequestError(f"The multipart body is malformed: {error}") from None
        except UnicodeDecodeError:
            raise RequestError("Text fields must be UTF-8.") from None
        finally:
            segments.close()
        return form


async def decoded(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is.

    Raises:
        RequestError: 400, 413.
    """
    return _decode(body) if len(body) < INLINE_BYTES else await asyncio.to_thread(_decode, body)


def _claim(parent: Path) -> tuple[Path, int]:
    """A new directory of our own under `parent`, and the lock that says so; removes those whose owner has died.

    The kernel drops a dead process's lock, whatever killed it and in whichever container it ran.
    """
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for lock in parent.glob("*.lock"):
        descriptor = os.open(lock, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # its server lives
        finally:
            os.close(descriptor)
    own = parent / secrets.token_hex(8)
    descriptor = os.open(own.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    own.mkdir(mode=0o700)
    return own, descriptor


def _arrived(request: Request[Any, Any, Any], limit: int) -> bytes | None:
    """The body, if all of it is there; None where it is still to be received.

    Raises:
        RequestError: 413, 415.
    """
    if _header(request, b"content-encoding", "identity") != "identity":
        raise RequestError("Compressed request bodies are not taken.", status=415)
    announced = _header(request, b"content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    connection = connection_of(request.scope)
    whole = None if connection is None else connection.body()
    if whole is not None and len(whole) > limit:
        raise _too_large(limit)
    return whole


def _header(request: Request[Any, Any, Any], name: bytes, default: str) -> str:
    """A header's first value. Litestar would make a dictionary of them all."""
    found = (value for key, value in request.scope["headers"] if key == name)
    return next(found, default.encode()).decode("latin-1")


def _content_type(request: Request[Any, Any, Any]) -> tuple[str, dict[str, str]]:
    media_type, options = multipart.parse_options_header(_header(request, b"content-type", ""))
    return media_type.lower(), options


def _too_large(limit: int) -> RequestError:
    return RequestError(f"The body is larger than {limit} bytes.", code="request_too_large", status=413)


def _decode(body: bytes) -> dict[str, Any]:
    # Decoding holds the interpreter: what bounds it is the number of values, not of bytes.
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > MAX_JSON_VALUES:
        raise RequestError(f"The JSON holds more than {MAX_JSON_VALUES} values.", code="request_too_large", status=413)
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise RequestError("The JSON is nested too deeply.", code="invalid_json") from None
    except ValueError as error:  # msgspec's errors and bad UTF-8
        raise RequestError(f"The body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise RequestError("The body must be a JSON object.", code="invalid_json")
    _refuse_nonsense(value)
    return value  # pyright: ignore[reportUnknownVariableType] - JSON


def _refuse_nonsense(value: Any) -> None:
    """Refuses what JSON allows and no field of this API means: NUL characters and numbers of many digits."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if "\0" in item:
                raise RequestError("Text must not contain NUL characters.", code="invalid_json")
        elif isinstance(item, dict):
            stack.extend(item.keys())  # pyright: ignore[reportUnknownArgumentType] - JSON
            stack.extend(item.values())  # pyright: ignore[reportUnknownArgumentType] - JSON
        elif isinstance(item, list):
            stack.extend(item)  # pyright: ignore[reportUnknownArgumentType] - JSON
        elif isinstance(item, int) and not -MAX_INT <= item < MAX_INT:
            raise RequestError("A whole number is out of range.", code="invalid_json")
