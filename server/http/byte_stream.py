"""Files that are sent while they are generated, and cancelled when the client disconnects.

Their length is not known in advance, so there is no `content-length`. When generation fails midway, the connection is
closed without the last chunk, so that no client takes the file for a complete one.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

from litestar import Request
from litestar.types import Send

from server.http.streaming import AppResponse, EventStream, until_disconnect

log = logging.getLogger(__name__)


class ByteStream(EventStream):
    """A file in progress as an ASGI application. Make it with `byte_stream`."""

    def __init__(self, first: bytes, chunks: AsyncGenerator[bytes], media_type: str) -> None:
        """Takes the first bytes, and the chunks after them."""
        super().__init__(first, chunks)
        self._media_type = media_type

    async def _send_frames(self, send: Send, direct: Callable[[bytes], bool] | None) -> None:
        del direct
        headers = [(b"content-type", self._media_type.encode()), (b"x-content-type-options", b"nosniff")]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            async for chunk in self._frames:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Exception as error:  # the status is already sent: without a last message the connection breaks off
            log.warning("generating %s failed midway: %s", self._media_type, type(error).__name__)
        finally:
            await self._frames.aclose()


async def byte_stream(request: Request[Any, Any, Any], chunks: AsyncGenerator[bytes], media_type: str) -> AppResponse:
    """A streamed file. Waits for the first bytes, so that an early error still has its proper status.

    Raises:
        AdapterError: Whatever the work raises before its first bytes.
    """
    first = await until_disconnect(request, anext(chunks))
    return AppResponse(ByteStream(first, chunks, media_type))
