"""Webhooks: signs events as OpenAI does (Standard Webhooks 1.0), and sends them to the configured URL."""

import base64
import hashlib
import hmac
import logging
import time

import msgspec

from server.outbound.webhook_client import WebhookClient
from server.storage.clock import steady_time
from server.videos.events import JobEvents

log = logging.getLogger(__name__)

RETRY_FOR_S = 72 * 3600.0
"""How long the delivery of an event is retried, as OpenAI does."""


class DeliveryFailed(Exception):
    """The receiver did not accept an event. The delivery is retried."""


class WebhookSender:
    """Delivers events to the configured URL."""

    def __init__(self, client: WebhookClient, secret: str, events: JobEvents) -> None:
        """Sets up the sender.

        Args:
            client: Sends requests to the configured URL.
            secret: "whsec_" and base64, or any text: the secret that `client.webhooks.unwrap` verifies with.
            events: The undelivered events.
        """
        self._client = client
        self._key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
        self._events = events

    async def deliver(self, event_id: str) -> None:
        """Delivers an event, and removes it once it is accepted or too old.

        Raises:
            DeliveryFailed: The receiver cannot be reached, or did not answer with 2xx.
            RequestError: 503, the database fails.
        """
        stored = await self._events.get(event_id)
        if stored is None:
            return
        body = msgspec.json.encode(stored.event)
        try:
            status = await self._client.post(body, self._headers(event_id, body))
        except (OSError, TimeoutError) as error:
            status, reason = 0, type(error).__name__
        else:
            reason = str(status)
        if not 200 <= status < 300 and steady_time() - stored.created_at < RETRY_FOR_S:
            log.warning("the webhook %s was not accepted: %s", event_id, reason)
            raise DeliveryFailed(reason)
        if not 200 <= status < 300:
            log.error("the webhook %s was not accepted for %g hours and is given up", event_id, RETRY_FOR_S / 3600)
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
