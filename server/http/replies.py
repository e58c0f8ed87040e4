"""Replies: JSON of wire objects, raw bytes, and files with range requests."""

import asyncio
import os
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from litestar import HttpMethod, Response
from litestar.types import Receive, Scope, Send

from compat.errors import RequestError
from server.http.streaming import AppResponse

CHUNK_BYTES = 256 * 1024
READ: list[HttpMethod] = [HttpMethod.GET, HttpMethod.HEAD]
"""The methods of routes that send files."""


def json(reply: Any, headers: dict[str, str] | None = None) -> Response[bytes]:
    """A wire object as JSON, status 200."""
    return Response(msgspec.json.encode(reply), media_type="application/json", status_code=200, headers=headers)


async def send_json(send: Send, body: bytes) -> None:
    """Sends encoded JSON from an ASGI handler, status 200."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def raw(body: bytes, media_type: str) -> Response[bytes]:
    """Bytes of any media type, status 200."""
    return Response(body, media_type=media_type, status_code=200)


def file(path: Path, media_type: str) -> AppResponse:
    """A file, whole or the requested range of it. Browsers save it under its own name."""
    return AppResponse(_File(path, media_type))


class _File:
    """A file as an ASGI application; supports one byte range (RFC 9110, section 14)."""

    def __init__(self, path: Path, media_type: str) -> None:
        self._path = path
        self._media_type = media_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the file, or the range that the Range header asks for.

        Raises:
            RequestError: 404, the file was removed meanwhile; 416, the range is outside of the file.
        """
        del receive
        try:
            file = await asyncio.to_thread(self._path.open, "rb")
        except FileNotFoundError:
            raise RequestError("The file no longer exists.", code="file_not_found", status=404) from None
        with file:  # an open file is sent completely even if it is removed now
            await self._send(file, scope, send)

    async def _send(self, file: BinaryIO, scope: Scope, send: Send) -> None:
        size = os.fstat(file.fileno()).st_size
        ranges = [value.decode("latin-1") for name, value in scope["headers"] if name == b"range"]
        span = byte_range(ranges[0], size) if len(ranges) == 1 else None
        first, last = span or (0, size - 1)
        headers = {
            "content-type": self._media_type,
            "content-length": str(last - first + 1),
            "content-disposition": f'attachment; filename="{self._path.name}"',
            "accept-ranges": "bytes",
            "x-content-type-options": "nosniff",
        }
        if span:
            headers["content-range"] = f"bytes {first}-{last}/{size}"
        await send(
            {
                "type": "http.response.start",
                "status": 206 if span else 200,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }
        )
        file.seek(first)
        left = 0 if cast(Any, scope)["method"] == "HEAD" else last - first + 1
        while left and (data := await asyncio.to_thread(file.read, min(CHUNK_BYTES, left))):
            left -= len(data)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """(first, last) byte of a Range header; None for a header to ignore: malformed, or with several ranges.

    Raises:
        RequestError: 416, the range is outside of the file.
    """
    unit, _, spec = header.partition("=")
    start, dash, end = spec.strip().partition("-")
    digits = all(part.isascii() and (part.isdecimal() or not part) and len(part) < 20 for part in (start, end))
    if unit.strip().lower() != "bytes" or not dash or not digits or not (start or end):
        return None
    if start:
        first, last = int(start), min(int(end), size - 1) if end else size - 1
        if end and int(end) < first:
            return None
    else:
        first, last = max(0, size - int(end)), size - 1
    if first > last:
        raise RequestError(
            f"The Range header asks for bytes outside of the file. Send a range within its {size} bytes.",
            code="invalid_range",
            status=416,
            headers={"Content-Range": f"bytes */{size}"},
        )
    return first, last
