"""Sending a webhook: one POST to the URL that the operator has configured. Redirects are not followed.

The operator chooses the URL, but not what its host name resolves to. A name that resolves to this machine or to a
private network is not called unless the settings allow it (promise 33).
"""

import asyncio
from collections.abc import Mapping

from server.outbound import http_client
from server.outbound.http_client import Url
from server.outbound.public_address import Address, is_public

TIMEOUT_S = 15.0


class WebhookClient:
    """Sends requests to one URL."""

    def __init__(self, url: str, *, private: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        """Sets the target; connects to nothing yet.

        Args:
            url: http or https, as validated by the settings.
            private: Whether addresses that are not public may be called.
            timeout_s: How long one call may take in total.
        """
        self._url = Url.parse(url)
        self._allowed = _any_address if private else is_public
        self._timeout_s = timeout_s

    async def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Sends one request and returns the status of the answer. The body of the answer is not read.

        Raises:
            OSError: The host cannot be reached, must not be called, or does not answer in HTTP.
            TimeoutError: The call took too long.
        """
        async with (
            asyncio.timeout(self._timeout_s),
            http_client.send("POST", self._url, headers, body=body, allowed=self._allowed) as response,
        ):
            return response.status


def _any_address(_: Address) -> bool:
    return True
