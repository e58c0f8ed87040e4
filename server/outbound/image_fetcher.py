"""Fetching images from the web for clients, where the operator allows it (promise 22).

A URL from a client must not make the server reach what only the server can reach (SSRF). Only http and https on their
default ports are allowed, without credentials, and only to public addresses. Every redirect is checked in the same
way, and none may lead from https to http. The number of bytes and the time are limited.
"""

import asyncio
import re
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

from adapters.base import Media
from compat.errors import RequestError
from compat.media import MAX_IMAGE_BYTES
from server.outbound import http_client
from server.outbound.http_client import PORTS, Response, Url
from server.outbound.public_address import Address, is_public

MAX_URL = 2048
MAX_REDIRECTS = 3
TIMEOUT_S = 15.0
"""For the image and all redirects together."""
REDIRECTS = (301, 302, 303, 307, 308)
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")
PRINTABLE_ASCII = re.compile("[!-~]+")
HEADERS = {"Accept": ", ".join(MEDIA_TYPES), "Accept-Encoding": "identity"}


class _Refused(Exception):
    """Why an image was not fetched, as a sentence for the client."""


class ImageFetcher:
    """Fetches images from the web."""

    def __init__(
        self,
        *,
        allowed: Callable[[Address], bool] = is_public,
        any_port: bool = False,
        max_bytes: int = MAX_IMAGE_BYTES,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Sets the limits. The server uses the defaults. Tests allow addresses and ports of this machine."""
        self._allowed = allowed
        self._any_port = any_port
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def fetch(self, url: str, *, param: str) -> Media:
        """Fetches the image at a URL, without decoding it.

        Raises:
            RequestError: 400 that names `param`: the URL is not allowed, or there is no image at it.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(url)
        except _Refused as error:
            reason = str(error)
        except (OSError, TimeoutError, UnicodeError):
            # The same message for unreachable, private and slow hosts. Different ones would make this a port scanner.
            reason = (
                f"No public server answered within {self._timeout_s:g} s. Check the URL, or send the image as a data "
                "URL."
            )
        raise RequestError(
            f"Invalid '{param}': the image could not be fetched. {reason}", param=param, code="image_fetch"
        )

    async def _follow(self, url: str) -> Media:
        for _ in range(MAX_REDIRECTS + 1):
            target = self._checked(url)
            async with http_client.send("GET", target, HEADERS, allowed=self._allowed) as response:
                location = response.headers.get("location")
                if response.status not in REDIRECTS or location is None:
                    return await self._read(response)
            url = urljoin(url, location)
            if target.scheme == "https" and not url.startswith("https:"):
                raise _Refused("The URL redirects from https to http. Send a URL that stays on https.")
        raise _Refused(f"The URL redirects more than {MAX_REDIRECTS} times. Send the final URL.")

    def _checked(self, url: str) -> Url:
        try:
            parsed, parts = Url.parse(url), urlsplit(url)
        except ValueError:
            parsed = parts = None
        if parsed is None or parts is None or len(url) > MAX_URL or not PRINTABLE_ASCII.fullmatch(url):
            raise _Refused(
                f"Send an http or https URL of at most {MAX_URL} printable ASCII characters, without spaces."
            )
        if "@" in parts.netloc:
            raise _Refused("The URL contains credentials. Send a URL without a user name and password.")
        if parsed.port != PORTS[parsed.scheme] and not self._any_port:
            raise _Refused("The URL names a port. Only the default ports 80 (http) and 443 (https) are allowed.")
        return parsed

    async def _read(self, response: Response) -> Media:
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status != 200:
            raise _Refused(f"The server at that URL answered with status {response.status}.")
        if media_type not in MEDIA_TYPES:
            raise _Refused(f"There is no image at that URL: its content type must be one of {', '.join(MEDIA_TYPES)}.")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise _Refused("The server at that URL sent the image compressed, which is not supported.")
        announced = response.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise self._too_large()
        data = bytearray()
        async for chunk in response.body:
            data += chunk
            if len(data) > self._max_bytes:
                raise self._too_large()
        return Media(media_type, bytes(data))

    def _too_large(self) -> _Refused:
        return _Refused(f"The image is larger than {self._max_bytes} bytes.")
