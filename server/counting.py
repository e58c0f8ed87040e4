"""Counts tokens as they pass by: one wrapper for all routes that write text."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from adapters.base import TextDone, TextEvent
from server.metrics import Metrics


async def counted(events: AsyncGenerator[TextEvent], model: str, metrics: Metrics) -> AsyncGenerator[TextEvent]:
    """The same events; their usage goes into the metrics. Closing this closes them."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDone):
                metrics.wrote(model, event.usage.prompt_tokens, event.usage.completion_tokens)
            yield event
