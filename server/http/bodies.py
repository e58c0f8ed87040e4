"""Reading request bodies: JSON and multipart, with limits, strictly UTF-8, files streamed to disk.

Litestar's own parsers are not used: they decode with the client's charset and have no limits.
"""

import asyncio
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import multipart
from litestar import Request

from adapters.pool.fair_share import FairSlots
from compat import json_body
from compat.errors import RequestError, storage_error
from compat.wire import release
from server.http.multipart import MAX_FIELDS, Form, Segments
from server.http.streaming import connection_of

T = TypeVar("T")

IDLE_TIMEOUT_S = 30.0
MIN_ARRIVED_BYTES = 16 * 1024
"""In every `IDLE_TIMEOUT_S`, at least this much of a body must arrive, or its end."""
INLINE_BYTES = 64 * 1024
"""Larger JSON is decoded and parsed in a thread, so that it does not block the event loop."""


class BodyReader:
    """Reads request bodies within the server's limits."""

    def __init__(self, uploads_dir: Path, *, max_json_bytes: int, max_upload_bytes: int, timeout_s: float) -> None:
        """Creates a directory for uploads of this process, and removes those of servers that were killed."""
        self._max_json_bytes = max_json_bytes
        self._max_upload_bytes = max_upload_bytes
        self._timeout_s = timeout_s
        self._dir, self._lock = _claim_directory(uploads_dir)

    async def parsed(self, request: Request[Any, Any, Any], parse: Callable[[dict[str, Any]], T]) -> T:
        """The JSON object of a request, as `parse` reads it. Large ones are parsed in a thread. Raises as `json`."""
        return await decoded(await self.json_bytes(request), parse)

    async def json(self, request: Request[Any, Any, Any]) -> dict[str, Any]:
        """The JSON object of a request.

        Raises:
            RequestError: 400, the body is not a JSON object; 408, 413, 415.
        """
        return await self.parsed(request, _as_it_is)

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
    async def form(
        self,
        request: Request[Any, Any, Any],
        limits: Mapping[str, int] | None = None,
        slots: FairSlots | None = None,
    ) -> AsyncGenerator[Form]:
        """The multipart form of a request, or its JSON object. The files are removed when the context ends.

        Args:
            request: The request.
            limits: The largest file of a field, in bytes, by the field's name without brackets. A larger one is refused
                while it arrives.
            slots: How many forms may be in memory at the same time. A slot is taken when the whole body has arrived,
                and held until the context ends.

        Raises:
            RequestError: 400, the body is malformed; 408, 413, 415; 503, it cannot be stored.
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
        try:
            await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True)  # a cleaner may have removed the parents
        except OSError as error:
            raise storage_error(error) from error
        try:
            if is_json:
                body = await self.json_bytes(request)
                async with slots.slot() if slots else nullcontext():
                    yield Form(json=await decoded(body, _as_it_is), folder=folder)
            else:
                segments = await self._multipart(request, options["boundary"], folder, limits or {})
                async with slots.slot() if slots else nullcontext():
                    await asyncio.to_thread(segments.finish)
                    yield segments.form
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _chunks(self, request: Request[Any, Any, Any], limit: int) -> AsyncGenerator[bytes]:
        if (whole := _buffered_body(request, limit)) is not None:
            yield whole
            return
        async for chunk in self._receive_chunks(request, limit):
            yield chunk

    async def _receive_chunks(self, request: Request[Any, Any, Any], limit: int) -> AsyncGenerator[bytes]:
        end = time.monotonic() + self._timeout_s
        received, more, due, expected = 0, True, 0.0, 0
        while more:
            if received >= expected:
                due, expected = time.monotonic() + IDLE_TIMEOUT_S, received + MIN_ARRIVED_BYTES
            try:
                async with asyncio.timeout(min(due, end) - time.monotonic()):  # `wait_for` would create a task
                    message = await request.receive()
            except TimeoutError:
                raise RequestError(
                    f"The body did not arrive in time. Send it within {self._timeout_s:g} s, and at least "
                    f"{MIN_ARRIVED_BYTES} bytes in every {IDLE_TIMEOUT_S:g} s.",
                    status=408,
                ) from None
            if message["type"] != "http.request":
                raise RequestError("The connection was closed before the end of the body.", status=400)
            received += len(message["body"])
            if received > limit:
                raise _too_large(limit)
            more = message["more_body"]
            yield message["body"]

    async def _multipart(
        self, request: Request[Any, Any, Any], boundary: str, folder: Path, limits: Mapping[str, int]
    ) -> Segments:
        segments = Segments(Form(folder=folder), folder, limits)
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
        finally:
            segments.close()
        return segments


async def decoded(body: bytes, parse: Callable[[dict[str, Any]], T]) -> T:
    """A JSON object as `parse` reads it, which must not use the event loop.

    Raises:
        RequestError: 400, 413, or what `parse` raises.
    """
    if len(body) < INLINE_BYTES:
        return parse(json_body.decode(body))
    return await asyncio.to_thread(_parsed_and_freed, body, parse)


def _parsed_and_freed(body: bytes, parse: Callable[[dict[str, Any]], T]) -> T:
    value = json_body.decode(body)
    parsed = parse(value)
    if parsed is not value:
        for name in ("messages", "input"):
            if isinstance(items := value.get(name), list):
                release(items)  # pyright: ignore[reportUnknownArgumentType] - JSON
    return parsed


def _as_it_is(body: dict[str, Any]) -> dict[str, Any]:
    return body


def _claim_directory(parent: Path) -> tuple[Path, int]:
    """Creates a locked directory under `parent`, and removes those whose process has ended.

    The kernel releases the lock of an ended process, whatever ended it and in whichever container it ran.
    """
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Servers that start at the same time do this one after the other. Otherwise one could remove what another has
    # created and not locked yet.
    with (parent / "starting").open("w") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
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
