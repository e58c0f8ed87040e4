"""Webhooks: events signed as OpenAI signs them (Standard Webhooks 1.0), and told to the one URL of the settings."""

import base64
import hashlib
import hmac
import logging
import time

import msgspec

from server.outbound.webhook_client import Receiver
from server.videos.events import JobEvents

log = logging.getLogger(__name__)

KEEP_S = 72 * 3600.0
"""So long an event is tried again, as OpenAI does."""


class NotTaken(Exception):
    """The receiver did not take an event; it is to be told again."""


class Webhooks:
    """Tells of events, until they are taken."""

    def __init__(self, receiver: Receiver, secret: str, events: JobEvents) -> None:
        """Tells nothing yet.

        Args:
            receiver: Who is told.
            secret: "whsec_" and base64, or any text; what `client.webhooks.unwrap` is given, too.
            events: What there is to tell.
        """
        self._receiver = receiver
        self._key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
        self._events = events

    async def deliver(self, event_id: str) -> None:
        """Tells of an event, and forgets it once it was taken; or is too old.

        Raises:
            NotTaken: The receiver cannot be reached, or did not answer 2xx.
            RequestError: 503, the database fails.
        """
        ended = await self._events.get(event_id)
        if ended is None:
            return
        body = msgspec.json.encode(ended.event)
        try:
            status = await self._receiver.post(body, self._headers(event_id, body))
        except (OSError, TimeoutError) as error:
            status, reason = 0, type(error).__name__
        else:
            reason = str(status)
        if not 200 <= status < 300 and time.time() - ended.created_at < KEEP_S:
            log.warning("the receiver of webhooks did not take %s: %s", event_id, reason)
            raise NotTaken(reason)
        if not 200 <= status < 300:
            log.error("the receiver of webhooks never took %s: it is given up", event_id)
        await self._events.remove(event_id)

    def _headers(self, event_id: str, body: bytes) -> dict[str, str]:
        now = str(int(time.time()))
        signed = hmac.new(self._key, f"{event_id}.{now}.".encode() + body, hashlib.sha256).digest()
        return {
            "content-type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": now,
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }
