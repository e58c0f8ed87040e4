"""Server-sent events as OpenAI sends them: `data:` frames and the closing `[DONE]`."""

from typing import Any

import msgspec

DONE = b"data: [DONE]\n\n"
"""The end of a successful stream. A stream that failed never sends it."""

_encoder = msgspec.json.Encoder()


def frame(item: Any, *, event: str | None = None) -> bytes:
    """One event: a wire object as a `data:` line. JSON has no raw line breaks, so one line is enough.

    Args:
        item: Anything that `msgspec` can encode.
        event: The event's name, for protocols with named events.
    """
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    return head + b"data: " + _encoder.encode(item) + b"\n\n"


class Template:
    """An event that is encoded once and then sent many times with different text."""

    def __init__(self, item: Any) -> None:
        """Encodes the event once.

        Args:
            item: As for `frame`, with `PLACEHOLDER` once, in place of the text.
        """
        self._before, self._after = frame(item).split(_encoder.encode(PLACEHOLDER))

    def fill(self, text: str) -> bytes:
        """The event with this text: the same bytes as from `frame`."""
        return self._before + _encoder.encode(text) + self._after


PLACEHOLDER = "\ue000hole\ue001"
"""Stands for the text of a `Template`. Private-use characters, which JSON does not escape."""
