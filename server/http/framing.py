"""Messages of HTTP/1 as clients really send them: offers of other protocols, trailers, HTTP/1.0.

uvicorn takes three things for what they are not. A request that offers another protocol (`Upgrade: h2c`, as Java's
`HttpClient` and `curl --http2` send it) loses its body, since the parser leaves that to the protocol offered. Trailers
are appended to the headers, where a `Host` or `Authorization` is believed, and may be of any number. And a client of
HTTP/1.0 gets chunks, which that version does not have. `FramedProtocol` declines every offer, discards trailers within
a bound, and ends a reply to HTTP/1.0 by closing the connection.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_FRAMING_BYTES = 16 * 1024
"""What may arrive of a body without being part of it (trailers, chunk extensions) before more of the body does. What
one call of `data_received` brings is read in any case."""
VERSIONS = ("1.0", "1.1")
BODILESS = (204, 304)
"""Statuses whose replies have no body."""


class FramedProtocol(HttpToolsProtocol):
    """HTTP/1 in which offers are declined, trailers discarded, and empty parameters of a query absent."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Takes what uvicorn passes to every protocol."""
        super().__init__(*arguments, **options)
        self._in_body = False
        self._framing_bytes = 0
        self._resuming = False

    def data_received(self, data: bytes) -> None:
        """Parses what arrived."""
        self._unset_keepalive_if_required()
        self._framing_bytes += len(data)
        while data and self.parser is not None and not self.transport.is_closing():  # pyright: ignore[reportUnnecessaryComparison]
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                self._decline_offer()
            except httptools.HttpParserError as error:
                refusal = error.__context__
                message = (
                    str(refusal)
                    if isinstance(refusal, MalformedMessage)
                    else "The request is not valid HTTP/1.1. Send a valid request."
                )
                self.send_400_response(message)
                return
        if self._in_body and self._framing_bytes > MAX_FRAMING_BYTES:
            self.send_400_response(
                f"The body has more than {MAX_FRAMING_BYTES} bytes of trailers or chunk extensions. Send fewer."
            )

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._resuming:
            super().on_message_begin()
            self._framing_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        if not self._resuming:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers are discarded."""
        if not self._resuming and not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if self._resuming:
            return
        if b"%" in self.url and not _is_text(self.url):
            raise MalformedMessage("The URL contains a NUL character or is not UTF-8. Send another path or query.")
        version = self.parser.get_http_version()
        if version not in VERSIONS:
            raise MalformedMessage(f"HTTP/{version} is not supported. Send HTTP/1.1.")
        super().on_headers_complete()
        self.scope["query_string"] = _without_empty(self.scope["query_string"])
        self._in_body = True
        self._framing_bytes = 0
        if version == "1.0":
            self.cycle.send = _unframed(self.cycle)  # pyright: ignore[reportAttributeAccessIssue]

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._framing_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete, unless the parser left its body to the protocol that was offered."""
        if self.parser.should_upgrade() and self._body_framing() is not None:
            return
        self._in_body = False
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return False

    def _decline_offer(self) -> None:
        """Goes on with a parser that has not seen the offer, at the place where the body begins."""
        framing = self._body_framing()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn sets it
        if framing is None:
            return
        self._resuming = True
        try:
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        finally:
            self._resuming = False

    def _body_framing(self) -> bytes | None:
        """The header that says how long the body is; None where there is no body."""
        for name, value in self.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and value.strip() not in (b"", b"0")):
                return name + b": " + value
        return None


def _is_text(url: bytes) -> bool:
    """Whether a URL is UTF-8 without NUL characters once it is decoded. Databases accept nothing else as an id."""
    try:
        return "\0" not in unquote_to_bytes(url).decode()
    except UnicodeDecodeError:
        return False


class MalformedMessage(Exception):
    """Raised in a callback of the parser: ends the connection with a 400 that says this."""


def _unframed(cycle: RequestResponseCycle) -> Callable[[Any], Awaitable[None]]:
    """`cycle.send` for a client of HTTP/1.0: a body of unknown length ends with the connection."""
    send = cycle.send
    unframed = False

    async def send_unframed(message: Any) -> None:
        nonlocal unframed
        if message["type"] == "http.response.start":
            known = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            unframed = not known and message["status"] not in BODILESS and cycle.scope["method"] != "HEAD"
            if unframed:
                cycle.chunked_encoding = False
        elif unframed:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    return send_unframed


def _without_empty(query: bytes) -> bytes:
    """The query without parameters whose value is empty: they mean absent ones, as in forms."""
    if b"=&" not in query and not query.endswith(b"="):
        return query
    parts = (part.partition(b"=") for part in query.split(b"&"))
    return b"&".join(name + equals + value for name, equals, value in parts if value or not equals)
