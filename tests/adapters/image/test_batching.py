"""Batches across requests: who shares one, who waits, who goes."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest

from adapters.base import GeneratedImage, ImageDone, ImageEvent, ImageRequest, Lora, Media, Step
from adapters.errors import GenerationFailed, Interrupted, OutOfMemory
from adapters.image.batching import Batcher, BatchItem
from adapters.image.denoise import Row
from adapters.image.options import Plan

PLAN = Plan(
    width=64, height=64, steps=3, guidance=7.0, true_cfg=None, scheduler="", loras=(), refiner_steps=0, strength=None,
    guided=False, lengths=(1,),
)  # fmt: skip


class Model:
    """Draws by waiting; keeps the batches that it was given."""

    def __init__(self, *, size: int = 4, window_s: float = 0.02, step_s: float = 0.01) -> None:
        self.batches: list[list[int]] = []
        self.step_s = step_s
        self.failure: Exception | None = None
        self.batcher = Batcher(self._stream, size, window_s)

    async def _stream(self, batch: Sequence[BatchItem]) -> AsyncGenerator[tuple[BatchItem, ImageEvent]]:
        self.batches.append([item.row.seed for item in batch])
        for step in range(3):
            await asyncio.sleep(self.step_s)
            if all(item.request.cancelled for item in batch):
                raise Interrupted("nobody waits")
            if self.failure:
                raise self.failure
            for item in batch:
                yield item, Step(step + 1, 3)
        for item in batch:
            yield item, GeneratedImage(item.index, Media("image/png", b"x"), item.row.seed, 64, 64)

    async def generate(self, *seeds: int, plan: Plan = PLAN) -> list[ImageEvent]:
        request = ImageRequest("x", n=len(seeds))
        return [event async for event in self.batcher.generate(request, plan, [Row("x", "", seed) for seed in seeds])]


async def test_requests_that_come_together_are_one_batch() -> None:
    model = Model()
    results = await asyncio.gather(*(model.generate(seed) for seed in range(4)))
    assert model.batches == [[0, 1, 2, 3]]
    for seed, events in enumerate(results):
        assert [type(event) for event in events] == [Step, Step, Step, GeneratedImage, ImageDone]
        assert events[3] == GeneratedImage(0, Media("image/png", b"x"), seed, 64, 64)


async def test_a_request_waits_for_others_no_longer_than_the_window() -> None:
    model = Model(window_s=0.2, step_s=0)
    begun = time.monotonic()
    await model.generate(1)
    assert 0.2 <= time.monotonic() - begun < 2
    begun = time.monotonic()
    await model.generate(1, 2, 3, 4)
    assert time.monotonic() - begun < 0.2, "a full batch waits for nobody"


async def test_who_comes_late_joins_the_next_batch_and_more_than_a_batch_is_two() -> None:
    model = Model()
    first = asyncio.ensure_future(model.generate(*range(6)))
    await asyncio.sleep(0.005)
    late = asyncio.ensure_future(model.generate(9))
    events = await first
    assert model.batches == [[0, 1, 2, 3], [4, 5, 9]]
    assert [event.seed for event in events if isinstance(event, GeneratedImage)] == list(range(6))
    steps = [event.step for event in events if isinstance(event, Step)]
    assert steps == sorted(set(steps))
    assert steps[-1] == events[0].total == 18
    await late


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAN, loras=(Lora("ink"),)),
        replace(PLAN, steps=4),
        replace(PLAN, width=128),
        replace(PLAN, scheduler="ddim"),
        replace(PLAN, guidance=3.0),
        replace(PLAN, lengths=(2,)),
        replace(PLAN, guided=True),
        replace(PLAN, refiner_steps=2),
        replace(PLAN, strength=0.5, source=1),
    ],
)
async def test_what_is_drawn_otherwise_never_shares_a_batch(other: Plan) -> None:
    model = Model()
    await asyncio.gather(
        model.generate(1), model.generate(2, plan=other), model.generate(3), model.generate(4, plan=other)
    )
    assert model.batches == [[1, 3], [2, 4]]


async def test_one_that_goes_takes_nobody_along_and_the_last_one_stops_the_model() -> None:
    model = Model(step_s=0.05)

    async def leave(seed: int) -> None:
        async with aclosing(model.batcher.generate(ImageRequest("x"), PLAN, [Row("x", "", seed)])) as events:
            await anext(events)

    stays, _ = await asyncio.gather(model.generate(1), leave(2))
    assert isinstance(stays[-1], ImageDone)
    await leave(3)  # waits until the model is free of it
    begun = time.monotonic()
    assert isinstance((await model.generate(4))[-1], ImageDone)
    assert model.batches == [[1, 2], [3], [4]]
    assert time.monotonic() - begun < 2


async def test_one_that_goes_before_its_turn_is_not_drawn() -> None:
    model = Model(step_s=0.05)
    running = asyncio.ensure_future(model.generate(1))
    await asyncio.sleep(0.06)
    queued = asyncio.ensure_future(model.generate(2))
    await asyncio.sleep(0.01)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    await running
    await asyncio.sleep(0.05)
    assert model.batches == [[1]]


@pytest.mark.parametrize("failure", [OutOfMemory("full"), ValueError("a secret")])
async def test_a_failure_ends_its_batch_and_not_the_next(failure: Exception) -> None:
    model = Model(size=2)
    model.failure = failure
    results = await asyncio.gather(model.generate(1, 2, 3), model.generate(4), return_exceptions=True)
    expected = OutOfMemory if isinstance(failure, OutOfMemory) else GenerationFailed
    assert [type(result) for result in results] == [expected, expected]
    assert not any("secret" in str(result) for result in results)
    model.failure = None
    assert isinstance((await model.generate(5))[-1], ImageDone)


async def test_unloading_interrupts_what_waits() -> None:
    model = Model(window_s=5)
    waiting = asyncio.ensure_future(model.generate(1))
    await asyncio.sleep(0.01)
    model.batcher.close()
    with pytest.raises(Interrupted):
        await waiting
    with pytest.raises(Interrupted):
        await model.generate(2)
