"""`truncation: auto`: a conversation that is too long loses its oldest turns, as few as will do."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from adapters.base import TextAdapter, TextEvent, TextRequest
from adapters.errors import ContextLengthExceeded
from compat.responses_conversation import cuts, shortened


async def fitting(adapter: TextAdapter, request: TextRequest) -> AsyncGenerator[TextEvent]:
    """The events of `TextAdapter.generate` for the longest end of the conversation that fits the model's context.

    Only the adapter knows what fits, so it is asked; halving finds the least cut among a thousand turns in ten tries,
    and a conversation that fits as it is costs nothing.

    Raises:
        ContextLengthExceeded: Not even the last turn fits. Everything else as `TextAdapter.generate`.
    """
    try:
        async with aclosing(adapter.generate(request)) as events:
            async for event in events:
                yield event
        return
    except ContextLengthExceeded as error:  # raised before the first event, or not at all
        whole = error
    starts = cuts(request.messages)
    best: AsyncGenerator[TextEvent] | None = None
    first: TextEvent | None = None
    low, high = 0, len(starts) - 1
    try:
        while low <= high:
            middle = (low + high) // 2
            shorter = replace(request, messages=shortened(request.messages, starts[middle]))
            try:
                events = adapter.generate(shorter)
                begun = await anext(events)
            except ContextLengthExceeded:
                low = middle + 1
                continue
            if best is not None:
                await best.aclose()
            best, first, high = events, begun, middle - 1
        if best is None or first is None:
            raise whole
        yield first
        async for event in best:
            yield event
    finally:
        if best is not None:
            await best.aclose()
