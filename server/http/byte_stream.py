"""Files that are sent while they are made: first bytes before the headers, and cancelling when the client goes.

Their length is not known before their end, so there is no `content-length`; one that fails midway ends in a broken
connection, which no client can take for a whole file.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

from litestar import Request
from litestar.types import Send

from server.http.streaming import AppResponse, EventStream, until_disconnect

log = logging.getLogger(__name__)


class ByteStream(EventStream):
    """A growing file as an ASGI application. Make it with `byte_stream`."""

    def __init__(self, first: bytes, pieces: AsyncGenerator[bytes], media_type: str) -> None:
        """Takes the bytes that are there already, and those that follow."""
        super().__init__(first, pieces)
        self._media_type = media_type

    async def _pump(self, send: Send, direct: Callable[[bytes], bool] | None) -> None:
        del direct
        headers = [(b"content-type", self._media_type.encode()), (b"x-content-type-options", b"nosniff")]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            async for piece in self._frames:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Exception as error:  # the status is gone: the connection is broken off, for want of the last message
            log.warning("a %s broke off: %s", self._media_type, type(error).__name__)
        finally:
            await self._frames.aclose()


async def byte_stream(request: Request[Any, Any, Any], pieces: AsyncGenerator[bytes], media_type: str) -> AppResponse:
    """A reply whose first bytes exist, so that an early failure is still a proper status.

    Raises:
        AdapterError: What the work raises before its first bytes.
    """
    first = await until_disconnect(request, anext(pieces))
    return AppResponse(ByteStream(first, pieces, media_type))
