"""`truncation: auto`: a conversation that is too long loses its oldest turns."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from adapters.base import TextAdapter, TextEvent, TextRequest
from adapters.errors import ContextLengthExceeded
from compat.responses.conversation import cuts, shortened

STEPS = 16
"""Each try drops so small a part of the turns that are left, and at least one."""


async def fitting(adapter: TextAdapter, request: TextRequest) -> AsyncGenerator[TextEvent]:
    """The events of `TextAdapter.generate` for a late part of the conversation that fits the model's context.

    Only the adapter knows what fits. It refuses what does not before it has read it, and what fits it reads at once: so
    more and more is dropped until it accepts, and nothing is ever read twice. At most a sixteenth of the turns that are
    left goes without need; a conversation that fits costs nothing.

    Raises:
        ContextLengthExceeded: Not even the last turn fits. Everything else as `TextAdapter.generate`.
    """
    starts = cuts(request.messages)
    tried, shorter = -1, request
    while True:
        begun = False
        try:
            async with aclosing(adapter.generate(shorter)) as events:
                async for event in events:
                    begun = True
                    yield event
            return
        except ContextLengthExceeded:
            if begun or tried == len(starts) - 1:
                raise
        left = len(starts) - 1 - tried
        tried += max(1, left // STEPS)
        shorter = replace(request, messages=shortened(request.messages, starts[tried]))
