"""Places that callers share: no caller holds them all, whatever it does."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Report, TextAdapter
from adapters.catalog.catalog import ModelEntry, Profile
from adapters.errors import CallerBusy, ModelBusy
from adapters.pool.fair_share import CALLER, FairSlots
from adapters.pool.pool import Pool


@contextmanager
def caller(name: str) -> Iterator[None]:
    token = CALLER.set(name)
    try:
        yield
    finally:
        CALLER.reset(token)


async def test_promise_36_a_caller_holds_its_share_and_gets_its_turn() -> None:
    slots, order, inside, most = FairSlots(3, per_caller=2), [], {"greedy": 0, "modest": 0}, {"greedy": 0, "modest": 0}

    async def work(name: str) -> None:
        with caller(name):
            async with slots.slot():
                order.append(name)
                inside[name] += 1
                most[name] = max(most[name], inside[name])
                await asyncio.sleep(0.01)
                inside[name] -= 1

    greedy = [asyncio.create_task(work("greedy")) for _ in range(20)]
    await asyncio.sleep(0.005)
    assert inside["greedy"] == 2, "a place stays free for others"
    modest = [asyncio.create_task(work("modest")) for _ in range(3)]
    await asyncio.gather(*greedy, *modest)
    assert most == {"greedy": 2, "modest": 2}
    assert order.index("modest") == 2, "the free place"
    assert max(at for at, name in enumerate(order) if name == "modest") < 8, "in turn, not after all others"


async def test_promise_36_who_stops_waiting_or_working_gives_its_place_back() -> None:
    slots = FairSlots(1, per_caller=1)

    async def hold(name: str) -> None:
        with caller(name):
            async with slots.slot():
                await asyncio.sleep(60)

    tasks = [asyncio.create_task(hold(name)) for name in "aabbc"]
    await asyncio.sleep(0)
    for task in (tasks[2], tasks[0], tasks[4], tasks[1], tasks[3]):  # waiting, working, waiting, just granted
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (slots._free, dict(slots._held), slots._waiting) == (1, {}, {})
    async with asyncio.timeout(1), slots.slot():
        pass


async def test_the_server_itself_has_no_share() -> None:
    slots = FairSlots(3, per_caller=1)
    async with slots.slot(), slots.slot(), slots.slot():
        pass


async def test_promise_36_a_greedy_caller_leaves_places_for_modest_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.pool.lease.MAX_LEASES", 40)
    monkeypatch.setattr("adapters.pool.lease.FEW_LEASES", 4)

    async def fetch(name: str, entry: ModelEntry, report: Report) -> Path:
        return Path()

    pool = Pool({"words": ModelEntry(kind="text", backend="fake-text")}, Profile(models=("words",)), fetch)
    leave = asyncio.Event()

    async def hold(name: str) -> None:
        with caller(name):
            async with pool.lease("words", TextAdapter):
                await leave.wait()

    async def take(name: str, count: int) -> list[asyncio.Task[Any]]:
        tasks = [asyncio.create_task(hold(name)) for _ in range(count)]
        await asyncio.sleep(0.05)
        return tasks

    greedy, modest, third = await take("greedy", 100), await take("modest", 6), await take("third", 6)
    (slot,) = pool.slots
    assert slot.callers == {"greedy": 30, "modest": 4, "third": 4}
    own = await take("", 10)  # the server's own work, up to the end
    leave.set()
    results = [await asyncio.gather(*tasks, return_exceptions=True) for tasks in (greedy, modest, third, own)]
    assert [sum(result is None for result in found) for found in results] == [30, 4, 4, 2]
    refused = [result for found in results[:3] for result in found if result is not None]
    assert all(isinstance(result, CallerBusy) for result in refused)
    assert isinstance(results[3][-1], ModelBusy)
    assert (slot.callers, slot.leases, slot.waiting) == ({}, 0, 0)
