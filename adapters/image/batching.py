"""Requests that ask for the same kind of image at the same time, drawn as one batch.

A request is as many tickets as it wants images. The oldest ticket decides what is drawn next; tickets with the same
plan join it, of whichever request, up to the size of a batch. If there are fewer, the batch waits for more: until the
oldest has waited for the window, and no longer. A request that goes away takes its tickets along; a batch that runs
stops within one step once all of its requests have gone.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from adapters.base import GeneratedImage, ImageDone, ImageEvent, ImageRequest, Step
from adapters.errors import AdapterError, GenerationFailed, Interrupted
from adapters.image.denoise import Row
from adapters.image.options import Plan

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Order:
    """A request, while it is drawn."""

    request: ImageRequest
    plan: Plan
    events: "asyncio.Queue[ImageEvent | Exception]" = field(default_factory=asyncio.Queue)
    started: float | None = None
    """When the model began with its first image."""
    gone: bool = False
    """Nobody waits for it any more. Read by the model's thread."""
    steps: dict[int, int] = field(default_factory=dict[int, int])
    """Steps done, by the image's index; images whose batch has not begun are not in it."""
    images: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """One image of a request."""

    order: Order
    index: int
    row: Row
    since: float


Stream = Callable[[Sequence[Ticket]], AsyncGenerator[tuple[Ticket, ImageEvent]]]
"""Draws a batch: each event with the ticket that it is for. For a step, `Step(done, total)` of that one image."""


class Collector:
    """Forms batches for one model."""

    def __init__(self, stream: Stream, size: int, window_s: float) -> None:
        """Nothing runs until somebody asks.

        Args:
            stream: Draws a batch.
            size: The most images of one.
            window_s: How long a ticket waits for others.
        """
        self._stream = stream
        self._size = size
        self._window_s = window_s
        self._waiting: list[Ticket] = []
        self._running: tuple[Ticket, ...] = ()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._free = asyncio.Event()
        self.ended = False

    async def draw(self, request: ImageRequest, plan: Plan, rows: Sequence[Row]) -> AsyncGenerator[ImageEvent]:
        """The events of one request. Closing it waits until the model is free of it."""
        if self.ended:
            raise Interrupted("The model was unloaded.")
        order = Order(request, plan)
        now = time.monotonic()
        self._waiting += [Ticket(order, index, row, now) for index, row in enumerate(rows)]
        self._arrived.set()
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        try:
            while True:
                event = await order.events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, ImageDone):
                    return
        finally:
            order.gone = True
            self._waiting = [ticket for ticket in self._waiting if ticket.order is not order]
            if self._running and all(ticket.order.gone for ticket in self._running):
                await self._free.wait()

    def end(self) -> None:
        """The model is being unloaded: what waits is interrupted."""
        self.ended = True
        waiting, self._waiting = self._waiting, []
        for ticket in waiting:
            ticket.order.events.put_nowait(Interrupted("The model was unloaded."))

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._wait_for_more()
                if batch := self._take():
                    await self._draw(batch)
        finally:
            self._task = None

    async def _wait_for_more(self) -> None:
        """Until a batch is full, or the oldest ticket has waited long enough."""
        while self._waiting and len(self._alike()) < self._size:
            left_s = self._waiting[0].since + self._window_s - time.monotonic()
            if left_s <= 0:
                return
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left_s)
            except TimeoutError:
                return

    def _alike(self) -> list[Ticket]:
        return [ticket for ticket in self._waiting if ticket.order.plan == self._waiting[0].order.plan]

    def _take(self) -> tuple[Ticket, ...]:
        batch = tuple(self._alike()[: self._size]) if self._waiting else ()
        self._waiting = [ticket for ticket in self._waiting if ticket not in batch]
        return batch

    async def _draw(self, batch: tuple[Ticket, ...]) -> None:
        self._running = batch
        self._free.clear()
        for ticket in batch:
            ticket.order.steps[ticket.index] = 0
            ticket.order.started = ticket.order.started or time.monotonic()
        try:
            async with aclosing(self._stream(batch)) as events:
                async for ticket, event in events:
                    self._deliver(ticket.order, ticket.index, event)
        except AdapterError as error:
            self._fail(batch, error)
        except Exception as error:
            log.exception("a batch of images failed")
            failure = GenerationFailed("The model failed.")
            failure.__cause__ = error
            self._fail(batch, failure)
        finally:
            self._running = ()
            self._free.set()

    def _fail(self, batch: Sequence[Ticket], error: AdapterError) -> None:
        """All requests of the batch end with it, and with them their tickets in later batches."""
        orders = {id(ticket.order): ticket.order for ticket in batch}
        self._waiting = [ticket for ticket in self._waiting if id(ticket.order) not in orders]
        for order in orders.values():
            order.events.put_nowait(type(error)(error.message, param=error.param))

    @staticmethod
    def _deliver(order: Order, index: int, event: Any) -> None:
        if isinstance(event, Step):
            order.steps[index] = event.step
            if index != max(order.steps):  # images of one batch advance together: told once, by the last of them
                return
            event = Step(sum(order.steps.values()), event.total * order.request.n)
        order.events.put_nowait(event)
        if isinstance(event, GeneratedImage):
            order.images += 1
            if order.images == order.request.n:
                spent_s = time.monotonic() - (order.started or 0)
                order.events.put_nowait(ImageDone(spent_s * 1000))
