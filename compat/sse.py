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


class Template:
    """An event that is the same every time but for one piece of text in it."""

    def __init__(self, item: Any) -> None:
        """Encodes the event once.

        Args:
            item: What `frame` takes, with `HOLE` where the text goes, and nowhere else.
        """
        self._before, self._after = frame(item).split(_encoder.encode(HOLE))

    def fill(self, text: str) -> bytes:
        """The event with this text: the same bytes as `frame` would make."""
        return self._before + _encoder.encode(text) + self._after


HOLE = "\ue000hole\ue001"
"""Stands for the text of a `Template`. Of Unicode's private use, and JSON leaves it as it is."""
