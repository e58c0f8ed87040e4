"""Recognising a repeated create request: by its Idempotency-Key, or as an identical retry of the SDK."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from compat.errors import RequestError
from compat.wire import flatten, gather_columns
from server.http.multipart import Form
from server.http.request import AnyRequest

MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """What identifies a create request among others of the same owner."""

    fingerprint: str
    """A hash of the route, the fields and the files."""
    retry_key: str | None = None
    """A hash of the Idempotency-Key header."""
    is_retry: bool = False
    """Whether the SDK sends the request again, because it got no reply."""


async def idempotency_key_of(request: AnyRequest, form: Form) -> IdempotencyKey:
    """The idempotency key of a create request.

    Two bodies are equal when their fields and the bytes of their files are. Multipart boundaries do not count, since
    the SDK generates a new one for each retry.

    Raises:
        RequestError: 400, the Idempotency-Key header is empty, too long, or not printable ASCII.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise RequestError(
            f"Invalid 'Idempotency-Key' header: send 1 to {MAX_KEY} printable ASCII characters.",
            param="Idempotency-Key",
        )
    count = request.headers.get("x-stainless-retry-count", "0")
    fingerprint = await asyncio.to_thread(_fingerprint, request.scope["path"], form)
    hashed = None if key is None else hashlib.sha256(key.encode()).hexdigest()
    return IdempotencyKey(fingerprint, hashed, count.isascii() and count.isdecimal() and count.strip("0") != "")


def fields_of(form: Form) -> dict[str, Any]:
    """The fields of the body, whether it is a form or JSON."""
    return flatten(gather_columns(form.fields)) if form.json is None else form.json


def _fingerprint(path: str, form: Form) -> str:
    files = [
        (name, upload.media_type, _hash(upload.path)) for name in sorted(form.files) for upload in form.files[name]
    ]
    content = [path, sorted(form.fields.items()), files, form.json]
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
