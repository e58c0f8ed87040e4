"""`truncation: auto`: drops the oldest turns of a conversation that is longer than the model's context."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from adapters.base import TextAdapter, TextEvent, TextRequest
from adapters.errors import ContextLengthExceeded
from compat.responses.conversation import cuts, shortened

FRACTION = 16
"""Each try drops 1/16 of the remaining turns, and at least one."""


async def generate_truncated(adapter: TextAdapter, request: TextRequest) -> AsyncGenerator[TextEvent]:
    """The events of `TextAdapter.generate` for the end of a conversation that fits the model's context.

    Only the adapter knows what fits. It rejects a prompt that is too long before processing it, so turns are dropped
    until the adapter accepts, and no prompt is processed twice. At most a sixteenth of the remaining turns is dropped
    unnecessarily. A conversation that fits costs nothing.

    Raises:
        ContextLengthExceeded: Not even the last turn fits. Other errors as `TextAdapter.generate`.
    """
    starts = cuts(request.messages)
    dropped, shorter = -1, request
    while True:
        started = False
        try:
            async with aclosing(adapter.generate(shorter)) as events:
                async for event in events:
                    started = True
                    yield event
            return
        except ContextLengthExceeded:
            if started or dropped == len(starts) - 1:
                raise
        left = len(starts) - 1 - dropped
        dropped += max(1, left // FRACTION)
        shorter = replace(request, messages=shortened(request.messages, starts[dropped]))
