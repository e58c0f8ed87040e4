"""What models hold: measured, grown, asleep; and what happens when memory runs out while one is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters import registry
from adapters.base import ModelFiles, Report, TextAdapter, TextRequest
from adapters.catalog.catalog import ModelEntry, Profile
from adapters.errors import OutOfMemory
from adapters.fake.models import FakeText
from adapters.pool.pool import Pool


def machine(names: str, budgets: Mapping[int | None, int], limit: int = 0, **own: Any) -> Pool:
    """A pool of models of ten bytes each; `own` are fields of a model's entry, by its name."""

    async def fetch(name: str, entry: ModelEntry, report: Report) -> Path:
        return Path()

    entries = {
        name: ModelEntry.model_validate({"kind": "text", "backend": "fake-text", **own.get(name, {})}) for name in names
    }
    return Pool(
        entries,
        Profile(models=tuple(names)),
        fetch,
        budgets=budgets,
        estimate=lambda entry, _: 0 if entry.memory_bytes == 999 else entry.memory_bytes or 10,
        cache_limit=lambda entry, _: limit,
        grace_s=0.05,
    )


async def use(pool: Pool, name: str) -> list[Any]:
    request = TextRequest(prompt="a b")
    return [event async for event in pool.stream(name, TextAdapter, lambda model: model.generate(request))]


async def test_an_error_of_the_driver_neither_fails_a_load_nor_leaves_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: FakeText) -> int:
        raise RuntimeError("NVML: Unknown Error")

    monkeypatch.setattr(FakeText, "memory_bytes", broken, raising=False)
    monkeypatch.setattr("adapters.pool.slot.MEASURE_EVERY_S", 0.0)
    pool = machine("ab", {0: 10})
    assert await use(pool, "a")
    slot = pool.slots[0]
    assert (slot.state, slot.leases, slot.idle.is_set()) == ("ready", 0, True)
    assert await use(pool, "b"), "a can be evicted"
    assert slot.state == "unloaded"


async def test_memory_that_runs_out_at_the_start_evicts_idle_models_and_is_tried_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load, tries = FakeText.load.__func__, list[str]()  # pyright: ignore

    async def short(cls: type[FakeText], model: ModelFiles, report: Report) -> FakeText:
        tries.append(model.name)
        if model.name == "b" and pool.slots[0].state == "ready":
            raise OutOfMemory("The model's engine did not start, because memory ran out.")
        if model.name == "c":
            raise OutOfMemory("never")
        return await load(cls, model, report)

    monkeypatch.setattr(FakeText, "load", classmethod(short))
    pool = machine("abc", {0: 100})
    assert await use(pool, "a")
    assert await use(pool, "b")
    assert tries == ["a", "b", "b"]
    assert [slot.state for slot in pool.slots[:2]] == ["unloaded", "ready"]
    with pytest.raises(OutOfMemory, match="never"):
        await use(pool, "c")
    assert tries == ["a", "b", "b", "c", "c"], "b was idle and made room; a third try would be in vain"
    assert pool.slots[2].reserved_bytes == 0


@pytest.mark.parametrize(("measured", "kept"), [(4, 4), (None, 3)])
async def test_a_sleeper_keeps_its_share(measured: int | None, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeText, "memory_bytes", lambda self: measured if not self.loaded else 10, raising=False)
    monkeypatch.setattr(FakeText, "asleep_bytes", 3)
    sleepy = {"options": {"can_sleep": True}}
    pool = machine("abc", {0: 10 + kept, None: 100}, a=sleepy, c={"memory_bytes": 10 + kept})
    a, b, _ = pool.slots
    assert await use(pool, "a")
    assert await use(pool, "b")
    assert (a.asleep, a.reserved_bytes, a.devices, a.ram_bytes) == (True, kept, (0,), 10 - kept)
    assert await use(pool, "a")
    assert (a.asleep, a.reserved_bytes, a.ram_bytes, b.state) == (False, 10, 0, "unloaded")
    assert await use(pool, "b")
    assert await use(pool, "c"), "which needs what the sleeper holds: it is unloaded"
    assert (a.adapter, a.asleep, a.reserved_bytes, a.ram_bytes) == (None, False, 0, 0)
    await pool.aclose()


async def test_a_model_does_not_sleep_where_ram_is_too_small_for_its_weights() -> None:
    pool = machine("ab", {0: 10, None: 9}, a={"options": {"can_sleep": True}})
    assert await use(pool, "a")
    assert await use(pool, "b")
    assert pool.slots[0].adapter is None


@pytest.fixture
def growing(monkeypatch: pytest.MonkeyPatch) -> list[ModelFiles]:
    """Makes the fake text models have caches that grow; what each load got."""
    from dataclasses import replace

    monkeypatch.setitem(registry.BACKENDS, "fake-text", replace(registry.BACKENDS["fake-text"], cache_grows=True))
    seen: list[ModelFiles] = []
    load = FakeText.load.__func__  # pyright: ignore

    async def noted(cls: type[FakeText], model: ModelFiles, report: Report) -> FakeText:
        seen.append(model)
        return await load(cls, model, report)

    monkeypatch.setattr(FakeText, "load", classmethod(noted))
    return seen


@pytest.mark.parametrize(
    ("names", "budgets", "limit", "grown"),
    [
        ("a", {0: 30, None: 50}, 100, 20),  # alone: all of it
        ("ab", {0: 30, None: 50}, 100, 10),  # room for the other model stays
        ("ab", {0: 30, None: 50}, 4, 4),  # no more than it can use
        ("abc", {0: 25, None: 50}, 100, None),  # not all fit, so that models take turns
        ("ax", {0: 30, None: 50}, 100, None),  # nothing is known of the other model
        ("a", {None: 50}, 100, None),  # a CPU, where caches do not grow
    ],
)
async def test_the_cache_grows_into_what_all_models_leave(
    names: str, budgets: dict[int | None, int], limit: int, grown: int | None, growing: list[ModelFiles]
) -> None:
    pool = machine(names, budgets, limit, x={"memory_bytes": 999})
    assert await use(pool, "a")
    assert growing[0].cache_bytes == grown
    assert pool.slots[0].reserved_bytes == 10 + (grown or 0)
    if names == "ab":
        assert await use(pool, "b")
        assert pool.slots[0].state == "ready", "a grown cache evicts no model"
    await pool.aclose()
    assert pool.slots[0].reserved_bytes == pool.slots[0].cache_bytes == 0
