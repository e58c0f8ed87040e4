"""Batching of images from several requests with the same settings.

A request is split into one item per image. The oldest item determines the next batch; items with the same plan, from
any request, join it up to the batch size. An incomplete batch waits until its oldest item has waited for the batching
window. A cancelled request removes its items; a running batch stops within one step once all its requests are
cancelled.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from adapters.base import GeneratedImage, ImageDone, ImageEvent, ImageRequest, PartialImage, Step
from adapters.errors import AdapterError, GenerationFailed, Interrupted
from adapters.image.denoise import Row
from adapters.image.options import Plan

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class ActiveRequest:
    """A request while its images are generated."""

    request: ImageRequest
    plan: Plan
    events: "asyncio.Queue[ImageEvent | Exception]" = field(default_factory=asyncio.Queue)
    started: float | None = None
    """Monotonic time at which its first batch started."""
    cancelled: bool = False
    """Also read by the model's thread."""
    steps: dict[int, int] = field(default_factory=dict[int, int])
    """Finished steps by image index; images whose batch has not started are missing."""
    finished: int = 0
    """Number of finished images."""


@dataclass(frozen=True, slots=True, eq=False)
class BatchItem:
    """One image of a request."""

    request: ActiveRequest
    index: int
    row: Row
    queued_at: float
    """Monotonic time."""


BatchEvent = ImageEvent | Future[PartialImage] | Future[GeneratedImage]
"""An event, or one that will follow: images are encoded while the model generates the next batch."""
GenerateBatch = Callable[[Sequence[BatchItem]], AsyncGenerator[tuple[BatchItem, BatchEvent]]]
"""Generates a batch: events with their items. A `Step` counts the steps of that one image."""


class Batcher:
    """Forms batches for one model."""

    def __init__(self, generate_batch: GenerateBatch, size: int, window_s: float) -> None:
        """Starts nothing yet.

        Args:
            generate_batch: Generates a batch.
            size: Maximum number of images of a batch.
            window_s: Seconds that an item waits for others.
        """
        self._generate_batch = generate_batch
        self._size = size
        self._window_s = window_s
        self._waiting: list[BatchItem] = []
        self._running: tuple[BatchItem, ...] = ()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._free = asyncio.Event()
        self._encoding: set[asyncio.Task[None]] = set()
        self.closed = False

    async def generate(self, request: ImageRequest, plan: Plan, rows: Sequence[Row]) -> AsyncGenerator[ImageEvent]:
        """The events of one request. Closing the generator waits until the model no longer works on it."""
        if self.closed:
            raise Interrupted("The model was unloaded.")
        active = ActiveRequest(request, plan)
        now = time.monotonic()
        self._waiting += [BatchItem(active, index, row, now) for index, row in enumerate(rows)]
        self._arrived.set()
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        try:
            while True:
                event = await active.events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, ImageDone):
                    return
        finally:
            active.cancelled = True
            self._waiting = [item for item in self._waiting if item.request is not active]
            if self._running and all(item.request.cancelled for item in self._running):
                await self._free.wait()

    def close(self) -> None:
        """Ends all waiting requests with `Interrupted`, since the model is unloaded."""
        self.closed = True
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            item.request.events.put_nowait(Interrupted("The model was unloaded."))

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._wait_for_more()
                if batch := self._take():
                    await self._run(batch)
        finally:
            self._task = None

    async def _wait_for_more(self) -> None:
        """Waits until a batch is full, or the oldest item has waited for the window."""
        while self._waiting and len(self._compatible()) < self._size:
            left_s = self._waiting[0].queued_at + self._window_s - time.monotonic()
            if left_s <= 0:
                return
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left_s)
            except TimeoutError:
                return

    def _compatible(self) -> list[BatchItem]:
        return [item for item in self._waiting if item.request.plan == self._waiting[0].request.plan]

    def _take(self) -> tuple[BatchItem, ...]:
        batch = tuple(self._compatible()[: self._size]) if self._waiting else ()
        self._waiting = [item for item in self._waiting if item not in batch]
        return batch

    async def _run(self, batch: tuple[BatchItem, ...]) -> None:
        self._running = batch
        self._free.clear()
        for item in batch:
            item.request.steps[item.index] = 0
            item.request.started = item.request.started or time.monotonic()
        try:
            async with aclosing(self._generate_batch(batch)) as events:
                async for item, event in events:
                    if isinstance(event, Future):
                        task = asyncio.create_task(self._deliver_encoded(item, event))
                        self._encoding.add(task)
                        task.add_done_callback(self._encoding.discard)
                    else:
                        self._deliver(item.request, item.index, event)
        except AdapterError as error:
            self._fail(batch, error)
        except Exception as error:
            log.exception("generating a batch of images failed")
            failure = GenerationFailed("The model failed.")
            failure.__cause__ = error
            self._fail(batch, failure)
        finally:
            self._running = ()
            self._free.set()

    async def _deliver_encoded(self, item: BatchItem, encoded: Future[Any]) -> None:
        try:
            self._deliver(item.request, item.index, await asyncio.wrap_future(encoded))
        except AdapterError as error:
            self._fail([item], error)
        except Exception as error:
            log.exception("encoding an image failed")
            failure = GenerationFailed("The image could not be encoded.")
            failure.__cause__ = error
            self._fail([item], failure)

    def _fail(self, batch: Sequence[BatchItem], error: AdapterError) -> None:
        """Ends all requests of the batch, and removes their items that still wait."""
        failed = {id(item.request): item.request for item in batch}
        self._waiting = [item for item in self._waiting if id(item.request) not in failed]
        for active in failed.values():
            active.events.put_nowait(type(error)(error.message, param=error.param))

    @staticmethod
    def _deliver(active: ActiveRequest, index: int, event: Any) -> None:
        if isinstance(event, Step):
            active.steps[index] = event.step
            if index != max(active.steps):  # the images of a batch advance together: report a step once
                return
            event = Step(sum(active.steps.values()), event.total * active.request.n)
        active.events.put_nowait(event)
        if isinstance(event, GeneratedImage):
            active.finished += 1
            if active.finished == active.request.n:
                spent_s = time.monotonic() - (active.started or 0)
                active.events.put_nowait(ImageDone(spent_s * 1000))
