"""What tells one create from another: the Idempotency-Key, or that the SDK sends the very same once more."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from compat.errors import RequestError
from compat.wire import flatten, gather_columns
from server.http.multipart import Form
from server.http.request import AnyRequest
from server.videos.state import Receipt

MAX_KEY = 255


async def receipt_of(request: AnyRequest, form: Form) -> Receipt:
    """What is to be known again of a create.

    Two bodies are the same when their fields and their files' bytes are. Multipart boundaries do not count: the SDK
    draws a new one for each retry.

    Raises:
        RequestError: 400, the Idempotency-Key is empty, too long, or not printable ASCII.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise RequestError(
            f"An Idempotency-Key has 1 to {MAX_KEY} printable ASCII characters.", param="Idempotency-Key"
        )
    count = request.headers.get("x-stainless-retry-count", "0")
    fingerprint = await asyncio.to_thread(_fingerprint, request.scope["path"], form)
    hashed = None if key is None else hashlib.sha256(key.encode()).hexdigest()
    return Receipt(fingerprint, hashed, count.isascii() and count.isdecimal() and count.strip("0") != "")


def fields_of(form: Form) -> dict[str, Any]:
    """The body's fields, whether it came as a form or as JSON."""
    return flatten(gather_columns(form.fields)) if form.json is None else form.json


def _fingerprint(path: str, form: Form) -> str:
    files = [
        (name, upload.media_type, _hash(upload.path)) for name in sorted(form.files) for upload in form.files[name]
    ]
    told = [path, sorted(form.fields.items()), files, form.json]
    return hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
