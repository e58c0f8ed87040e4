"""Streams of text events: merging several prompts of one request, and counting tokens for the metrics."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from adapters.base import Outlet, TextAdapter, TextDone, TextEvent, TextRequest, Usage
from server.http.metrics import Metrics


def generation(request: TextRequest, outlet: Outlet | None) -> Callable[[TextAdapter], AsyncGenerator[TextEvent]]:
    """The generation of a text request, as work for `Pool.stream`."""
    return lambda adapter: adapter.generate(request, outlet)


def merge_choices(streams: Sequence[AsyncGenerator[TextEvent]], n: int) -> AsyncGenerator[TextEvent]:
    """Merges streams: their events as they arrive, then one `TextDone` with the sum of their usage.

    Closing the merged stream closes all streams. The first error of a stream ends it.

    Args:
        streams: At least one.
        n: Number of choices per stream: the choices of the second stream start at index n, and so on.
    """
    return streams[0] if len(streams) == 1 else _merged(streams, n)


async def _merged(streams: Sequence[AsyncGenerator[TextEvent]], n: int) -> AsyncGenerator[TextEvent]:
    events: asyncio.Queue[TextEvent | BaseException] = asyncio.Queue(maxsize=64)

    async def read(at: int, stream: AsyncGenerator[TextEvent]) -> None:
        try:
            async with aclosing(stream):
                async for event in stream:
                    await events.put(
                        event if isinstance(event, TextDone) else replace(event, index=at * n + event.index)
                    )
        except Exception as error:
            await events.put(error)

    tasks = [asyncio.create_task(read(at, stream)) for at, stream in enumerate(streams)]
    ended: list[TextDone] = []
    try:
        while len(ended) < len(tasks):
            event = await events.get()
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, TextDone):
                ended.append(event)
            else:
                yield event
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    usage = sum((done.usage for done in ended), Usage())
    yield TextDone(usage, max(done.generation_ms for done in ended))


async def count_tokens(events: AsyncGenerator[TextEvent], model: str, metrics: Metrics) -> AsyncGenerator[TextEvent]:
    """Passes events through, and adds their usage to the metrics. Closing it closes the stream."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDone):
                metrics.count_tokens(model, event.usage.prompt_tokens, event.usage.completion_tokens)
            yield event
