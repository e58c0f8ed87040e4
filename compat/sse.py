"""Server-sent events as OpenAI sends them: `data:` frames and the closing `[DONE]`."""

from typing import Any

import msgspec

DONE = b"data: [DONE]\n\n"
"""The end of a stream that went well. A stream that failed never sends it."""

_encoder = msgspec.json.Encoder()


def frame(item: Any, *, event: str | None = None) -> bytes:
    """One event: a wire object as a `data:` line. JSON has no raw line breaks, so one line holds it.

    Args:
        item: What `msgspec` can encode.
        event: The event's name, where the stream's protocol names them.
    """
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    return head + b"data: " + _encoder.encode(item) + b"\n\n"
