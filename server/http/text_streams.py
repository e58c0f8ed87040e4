"""Streams of text events: several prompts of one request as one stream, and tokens counted into the metrics."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from adapters.base import Outlet, TextAdapter, TextDone, TextEvent, TextRequest, Usage
from server.http.metrics import Metrics


def generating(request: TextRequest, outlet: Outlet | None) -> Callable[[TextAdapter], AsyncGenerator[TextEvent]]:
    """The work of writing this, for `Pool.stream`."""
    return lambda adapter: adapter.generate(request, outlet)


def side_by_side(streams: Sequence[AsyncGenerator[TextEvent]], n: int) -> AsyncGenerator[TextEvent]:
    """The events of all streams as they come, then one `TextDone` of them all.

    Closing it closes them; the first that fails ends it with that failure.

    Args:
        streams: At least one.
        n: Answers of each; the indices of the second stream's answers begin at n, and so on.
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


async def counted(events: AsyncGenerator[TextEvent], model: str, metrics: Metrics) -> AsyncGenerator[TextEvent]:
    """The same events; their usage goes into the metrics. Closing this closes them."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDone):
                metrics.wrote(model, event.usage.prompt_tokens, event.usage.completion_tokens)
            yield event
