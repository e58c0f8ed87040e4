"""A budget for each device: models on invented machines of several GPUs, and what reaches their processes."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters import hardware
from adapters.base import ModelFiles, Report, TextAdapter, TextRequest
from adapters.catalog.catalog import ModelEntry, Profile
from adapters.errors import ModelLoadFailed, OutOfMemory
from adapters.fake.models import FakeText
from adapters.pool.admission import Admission
from adapters.pool.pool import Pool
from adapters.pool.slot import Slot
from adapters.process.remote import RemoteText

GIB = 2**30
TWO = {0: 20, 1: 20, None: 10}
"""Two GPUs that hold two of the models below each, and RAM."""


@pytest.fixture(autouse=True)
def given(monkeypatch: pytest.MonkeyPatch) -> list[ModelFiles]:
    """What every load was given, in order."""
    seen: list[ModelFiles] = []
    load = FakeText.load.__func__  # pyright: ignore

    async def noted(cls: type[FakeText], model: ModelFiles, report: Report) -> FakeText:
        seen.append(model)
        return await load(cls, model, report)

    monkeypatch.setattr(FakeText, "load", classmethod(noted))
    return seen


def machine(names: str, budgets: Mapping[int | None, int] = TWO, grace_s: float = 0.05, **own: Any) -> Pool:
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
        estimate=lambda entry, _: entry.memory_bytes or 10,
        grace_s=grace_s,
    )


async def use(pool: Pool, name: str, words: str = "a b") -> list[Any]:
    request = TextRequest(prompt=words)
    return [event async for event in pool.stream(name, TextAdapter, lambda model: model.generate(request))]


def where(pool: Pool) -> dict[str, tuple[int | None, ...]]:
    return {slot.name: slot.devices for slot in pool.slots if slot.state == "ready"}


def held(pool: Pool) -> dict[int | None, int]:
    """Bytes reserved on each device."""
    found: dict[int | None, int] = {}
    for slot in pool.slots:
        for index in slot.devices if slot.reserved_bytes else ():
            found[index] = found.get(index, 0) + slot.resident().size_bytes
    return found


async def test_models_spread_over_gpus_and_are_told_which(given: list[ModelFiles]) -> None:
    pool = machine("abcd")
    for name in "abcd":
        assert await use(pool, name)
    assert where(pool) == {"a": (0,), "b": (1,), "c": (0,), "d": (1,)}
    assert [files.devices for files in given] == [(0,), (1,), (0,), (1,)]
    assert held(pool) == {0: 20, 1: 20}
    await pool.aclose()
    assert held(pool) == {}


async def test_only_models_on_the_device_that_is_wanted_go() -> None:
    pool = machine("abcde", e={"devices": [1]})
    for name in "abcd":
        assert await use(pool, name)
    assert await use(pool, "b")
    for slot in pool.slots:
        slot.load_s = 1.0  # as dear as each other, however busy this machine was
    assert await use(pool, "e")
    assert where(pool) == {"a": (0,), "c": (0,), "b": (1,), "e": (1,)}, "d is the oldest on GPU 1; a, older, stays"


async def test_a_large_model_goes_where_it_costs_least() -> None:
    pool = machine("abcde", e={"memory_bytes": 20})
    for name in "abcd":
        assert await use(pool, name)
    for slot, load_s in zip(pool.slots, (1.0, 60.0, 1.0, 1.0), strict=False):
        slot.load_s = load_s
    assert await use(pool, "e")
    assert where(pool) == {"e": (0,), "b": (1,), "d": (1,)}


async def test_without_gpus_nothing_is_hidden(given: list[ModelFiles]) -> None:
    pool = machine("a", {None: 10})
    assert await use(pool, "a")
    assert given[0].devices is None


async def test_a_model_that_no_single_device_holds_says_so_with_the_numbers() -> None:
    pool = machine("a", {0: 9 * GIB, 1: 5 * GIB, None: 100 * GIB}, a={"memory_bytes": 10 * GIB})
    with pytest.raises(OutOfMemory, match=r"10\.00 GiB; the memory budget is 9\.00 GiB on GPU 0, 5\.00 GiB on GPU 1\."):
        await use(pool, "a")
    pool = machine(
        "ab", {0: 9 * GIB, 1: 5 * GIB}, a={"memory_bytes": 4 * GIB, "pin": True}, b={"memory_bytes": 6 * GIB}
    )
    assert await use(pool, "a")
    with pytest.raises(OutOfMemory, match=r"9\.00 GiB on GPU 0, of which pinned models hold 4\.00 GiB; 5\.00 GiB on"):
        await use(pool, "b")


@pytest.mark.parametrize(
    ("budgets", "told"),
    [(TWO, "is configured for GPU 2; this machine has the GPUs 0, 1"), ({None: 9}, "GPU 2; this machine has no GPU")],
)
async def test_a_gpu_that_is_not_there_is_told(budgets: Mapping[int | None, int], told: str) -> None:
    with pytest.raises(ModelLoadFailed, match=told):
        await use(machine("a", budgets, a={"devices": [2]}), "a")


async def test_one_gpus_swap_does_not_hold_up_another() -> None:
    own = {name: {"devices": [0], "memory_bytes": 20} for name in "ab"} | {"c": {"devices": [1]}}
    pool = machine("abc", grace_s=60, **own)
    stream = pool.stream("a", TextAdapter, lambda model: model.generate(TextRequest(prompt="a b c")))
    await anext(stream)
    waiting = asyncio.create_task(use(pool, "b"))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        assert await use(pool, "c")
    assert not waiting.done()
    await stream.aclose()
    async with asyncio.timeout(5):
        assert await waiting


async def test_promise_12_only_idle_models_beside_it_go_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = machine("abc")
    for name in "abc":
        assert await use(pool, name)
    generate, fails = FakeText.generate, [OutOfMemory("full")]

    def flaky(self: FakeText, request: TextRequest) -> Any:
        if fails:
            raise fails.pop()
        return generate(self, request)

    monkeypatch.setattr(FakeText, "generate", flaky)
    assert await use(pool, "c")
    assert where(pool) == {"b": (1,), "c": (0,)}


async def test_a_sleeper_wakes_where_it_is_and_moves_only_when_it_never_could() -> None:
    wide = {"memory_bytes": 20, "options": {"can_sleep": True}}
    ram = {**TWO, None: 100}  # for the weights of those that sleep
    pool = machine("abc", ram, a={**wide, "devices": [0, 1]}, b={**wide, "devices": [0]}, c={**wide, "devices": [0]})
    sleeper, pinned = pool.slots[0], pool.slots[2]
    assert await use(pool, "a")
    assert await use(pool, "b")
    assert sleeper.asleep
    adapter = sleeper.adapter
    assert await use(pool, "a")
    assert sleeper.adapter is adapter
    assert where(pool) == {"a": (0,)}, "GPU 1 is free, but its process is on GPU 0"
    object.__setattr__(pinned.entry, "pin", True)
    assert await use(pool, "c")
    assert sleeper.asleep
    assert await use(pool, "a")
    assert sleeper.adapter is not adapter
    assert where(pool) == {"a": (1,), "c": (0,)}


async def test_promise_15_stress_of_two_gpus() -> None:
    own = {"e": {"memory_bytes": 20}, "f": {"devices": [1]}, "g": {"devices": [0], "options": {"can_sleep": True}}}
    pool = machine("abcdefg", grace_s=0.02, **own)
    most: dict[int | None, int] = {}

    async def one(index: int) -> None:
        for turn in range(12):
            assert await use(pool, "abcdefg"[(index * 5 + turn * 3) % 7], "[delay_ms=1] a b")
            for index, size in held(pool).items():
                most[index] = max(most.get(index, 0), size)

    async with asyncio.timeout(60):
        await asyncio.gather(*(one(index) for index in range(12)))
    assert most == {0: 20, 1: 20}
    await pool.aclose()
    assert held(pool) == {}
    assert all(slot.leases == slot.waiting == 0 for slot in pool.slots)


def slot(name: str, gpus: int = 1, **fields: Any) -> Slot:
    """A model that nobody loads; on vLLM unless told otherwise."""
    plain = {"kind": "text", "backend": "vllm", "options": {"tensor_parallel_size": gpus}}
    return Slot(name, ModelEntry.model_validate(plain | fields))


async def test_a_model_on_two_gpus_takes_its_share_of_each() -> None:
    wide, small, large = slot("wide", 2), slot("small"), slot("large", 3)
    admission = Admission({0: 20, 1: 20, 2: 8}, [wide, small, large], evict=nobody, grace_s=1)
    await admission.reserve(wide, 30)
    assert (wide.devices, wide.reserved_bytes, admission.gpus_of(wide)) == ((0, 1), 30, (0, 1))
    await admission.reserve(small, 6)
    assert small.devices == (2,), "wide has left too little on the others"
    with pytest.raises(OutOfMemory, match="on each of 3 GPUs"):
        await admission.reserve(large, 30)
    admission.release(wide)
    assert wide.devices == ()


async def test_models_on_the_cpu_count_against_ram_alone() -> None:
    drawn = {"kind": "image", "backend": "diffusers-image"}
    on_cpu, anywhere = slot("a", **drawn, options={"device": "cpu"}), slot("b", **drawn, options={"device": "auto"})
    admission = Admission(TWO, [on_cpu, anywhere], evict=nobody, grace_s=1)
    await admission.reserve(on_cpu, 10)
    assert (on_cpu.devices, admission.gpus_of(on_cpu)) == ((None,), ()), "it sees no GPU"
    await admission.reserve(anywhere, 20)
    assert anywhere.devices == (0,)
    with pytest.raises(OutOfMemory):
        await admission.reserve(on_cpu, 11)


async def test_more_gpus_than_there_are() -> None:
    wide = slot("wide", 4)
    admission = Admission(TWO, [wide], evict=nobody, grace_s=1)
    with pytest.raises(ModelLoadFailed, match="is configured for 4 GPUs; it may use 2"):
        await admission.reserve(wide, 10)


async def nobody(slot: Slot) -> None:
    raise AssertionError("nobody had to go")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"devices": [0, 0]}, "listed twice"),
        ({"devices": [-1]}, "greater than or equal to 0"),
        ({"devices": []}, "at least 1 item"),
        ({"devices": [0], "options": {"device": "cpu"}}, "the option device is cpu"),
        ({"devices": [0], "options": {"tensor_parallel_size": 2}}, "tensor_parallel_size is 2"),
    ],
)
def test_devices_that_make_no_sense_are_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ModelEntry.model_validate({"kind": "text", "backend": "vllm", **fields})


@pytest.mark.slow
async def test_a_child_sees_its_gpus_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    for devices, seen in (((1,), "1"), ((), ""), (None, "3,1")):
        model = await RemoteText.load(ModelFiles("fake", "fake-text", "", devices=devices), lambda _: None)
        try:
            lines = Path(f"/proc/{model.worker.pid}/environ").read_text().split("\0")
        finally:
            await model.unload()
        assert f"CUDA_VISIBLE_DEVICES={seen}" in lines
        assert ("CUDA_DEVICE_ORDER=PCI_BUS_ID" in lines) == (devices is not None)


def test_budgets_of_a_machine() -> None:
    cards = hardware.Device("cuda", "large", 1000, 900, 0), hardware.Device("cuda", "small", 200, 100, 3)
    cpu = hardware.Device("cpu", "CPU", 500, 400)
    found = hardware.Hardware((*reversed(cards), cpu), 8, 500)
    assert found.main is cards[0]
    assert found.budgets() == {0: 810, 3: 90, None: 360}
    assert found.budgets(300) == {0: 300, 3: 200, None: 360}
    assert hardware.Hardware((cpu,), 8, 500).budgets(300) == {None: 300}
