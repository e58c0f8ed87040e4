"""The pool: loading once, leases, draining, failing, and the races between them."""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.base import (
    Adapter,
    ImageAdapter,
    ImageRequest,
    Kind,
    LoadProgress,
    Report,
    SpeechAdapter,
    TextAdapter,
    TextRequest,
)
from adapters.catalog.catalog import ModelEntry, Profile
from adapters.errors import (
    GenerationFailed,
    Interrupted,
    ModelBusy,
    ModelLoadFailed,
    ModelNotFound,
    OutOfMemory,
    WrongModelKind,
)
from adapters.fake.models import FakeText
from adapters.pool.pool import Pool
from adapters.pool.resolve import vendor_kinds


class Fetches:
    """Counts how often files are asked for, and fails when told to."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.error: Exception | None = None
        self.hook: Callable[[], Any] | None = None

    async def __call__(self, name: str, entry: ModelEntry, report: Report) -> Path:
        self.names.append(name)
        if self.error:
            raise self.error
        await asyncio.sleep(0.01)
        return Path()


@pytest.fixture
def fetches() -> Fetches:
    return Fetches()


@pytest.fixture
def pool(fetches: Fetches) -> Pool:
    models = {
        "words": ModelEntry(kind="text", backend="fake-text", options={"load_delay_ms": 20}),
        "eyes": ModelEntry(kind="vision", backend="fake-text"),
        "pictures": ModelEntry(kind="image", backend="fake-image"),
    }
    return Pool(models, Profile(models=tuple(models), aliases={"gpt-4o": "words"}), fetches)


async def test_a_model_loads_on_its_first_lease_and_once(pool: Pool, fetches: Fetches) -> None:
    assert [slot.state for slot in pool.slots] == ["unloaded"] * 3

    async def use() -> TextAdapter:
        async with pool.lease("words", TextAdapter) as model:
            await asyncio.sleep(0.01)
            return model

    used = await asyncio.gather(*(use() for _ in range(20)))
    assert len(set(map(id, used))) == 1
    assert fetches.names == ["words"]
    assert [slot.state for slot in pool.slots] == ["ready", "unloaded", "unloaded"]


async def test_names_aliases_and_kinds(pool: Pool) -> None:
    assert pool.find("gpt-4o", TextAdapter).name == "words"
    assert pool.find("eyes", TextAdapter).name == "eyes"
    assert pool.find("", ImageAdapter).name == "pictures"
    with pytest.raises(ModelNotFound):
        pool.find("unknown", TextAdapter)
    with pytest.raises(ModelNotFound):
        pool.find("", SpeechAdapter)
    with pytest.raises(WrongModelKind):
        pool.find("pictures", TextAdapter)


async def test_what_needs_eyes_finds_none_but_vision_models(pool: Pool, fetches: Fetches) -> None:
    assert pool.find("", TextAdapter, kind="vision").name == "eyes"
    for name, kind in (("words", "text"), ("pictures", "image")):
        with pytest.raises(WrongModelKind, match=f"is of kind {kind}; this request needs a model of kind vision"):
            pool.find(name, TextAdapter, kind="vision")
    assert fetches.names == []  # nothing was loaded for it


async def test_with_fallback_an_unknown_name_reaches_the_kinds_first_model(fetches: Fetches) -> None:
    models = {"a": ModelEntry(kind="vision", backend="fake-text"), "b": ModelEntry(kind="text", backend="fake-text")}
    pool = Pool(models, Profile(models=("a", "b")), fetches, fallback="kind")
    assert pool.find("unknown", TextAdapter).name == "b"
    with pytest.raises(ModelNotFound):
        pool.find("unknown", ImageAdapter)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("whisper-1", "speech"),
        ("gpt-transcribe", "speech"),
        ("gpt-4o-mini-transcribe", "speech"),
        ("gpt-tts", "voice"),
        ("gpt-4o-mini-tts", "voice"),
        ("sora-2", "video"),
        ("text-embedding-3-large", "embedding"),
        ("gpt-image-2", "image"),
        ("gpt-5", "text"),
    ],
)
def test_kinds_of_other_vendors_models(name: str, kind: Kind) -> None:
    assert kind in vendor_kinds(name)
    assert (kind == "text") == ("text" in vendor_kinds(name))


@pytest.mark.parametrize(
    ("name", "adapter"),
    [
        ("gpt-5.2", TextAdapter),
        ("o3-mini", TextAdapter),
        ("chatgpt-4o-latest", TextAdapter),
        ("claude-opus-4-5", TextAdapter),
        ("openai/gpt-4o", TextAdapter),
        ("ft:gpt-4o:org:name:id", TextAdapter),
        ("models/gemini-3-pro", TextAdapter),
        ("gpt-image-2", ImageAdapter),
        ("dall-e-3", ImageAdapter),
    ],
)
async def test_names_of_other_vendors_reach_the_default(fetches: Fetches, name: str, adapter: type[Adapter]) -> None:
    models = {"a": ModelEntry(kind="text", backend="fake-text"), "b": ModelEntry(kind="image", backend="fake-image")}
    pool = Pool(models, Profile(models=("a", "b")), fetches, fallback="vendor")
    assert pool.find(name, adapter).name == ("a" if adapter is TextAdapter else "b")
    with pytest.raises(ModelNotFound):
        pool.find(name, ImageAdapter if adapter is TextAdapter else TextAdapter)
    with pytest.raises(ModelNotFound):
        Pool(models, Profile(models=("a", "b")), fetches).find(name, adapter)


async def test_other_unknown_names_are_told_the_nearest(fetches: Fetches) -> None:
    models = {"qwen2.5-0.5b": ModelEntry(kind="text", backend="fake-text")}
    pool = Pool(models, Profile(models=("qwen2.5-0.5b",)), fetches, fallback="vendor")
    with pytest.raises(ModelNotFound, match=r"Names like it: qwen2\.5-0\.5b"):
        pool.find("qwen2.5-05b", TextAdapter)
    with pytest.raises(ModelNotFound):
        pool.find("opt-125m", TextAdapter)


@pytest.mark.parametrize("error", [GenerationFailed("The model failed."), ValueError("of some library")])
async def test_an_unexpected_failure_of_a_load_is_a_failed_load(
    pool: Pool, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def load(*_: object) -> None:
        raise error

    monkeypatch.setattr(FakeText, "load", load)
    with pytest.raises(ModelLoadFailed, match="'words' could not be loaded") as failed:
        async with pool.lease("words", TextAdapter):
            pass
    assert failed.value.__cause__ is error


@pytest.mark.slow
async def test_promise_15_a_leased_model_is_not_unloaded(pool: Pool) -> None:
    async with pool.lease("words", TextAdapter) as model:
        unloading = asyncio.create_task(pool.unload("words"))
        await asyncio.sleep(0.05)
        assert isinstance(model, FakeText)
        assert model.loaded
        assert pool.slots[0].state == "draining"
        late = asyncio.create_task(fold(pool))  # waits for the unloading, and then loads anew
        await asyncio.sleep(0.05)
        assert not late.done()
    await unloading
    assert not model.loaded
    assert await late
    assert pool.slots[0].state == "ready"


async def fold(pool: Pool) -> list[Any]:
    return [event async for event in pool.stream("words", TextAdapter, lambda m: m.generate(TextRequest(prompt="a b")))]


async def test_promise_15_a_failed_load_rolls_back_and_is_tried_again(pool: Pool, fetches: Fetches) -> None:
    fetches.error = ModelLoadFailed("no files")
    results = await asyncio.gather(*(fold(pool) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, ModelLoadFailed) for result in results)
    assert fetches.names == ["words"]
    assert pool.slots[0].state == "failed"
    fetches.error = RuntimeError("secret path")
    with pytest.raises(ModelLoadFailed) as hidden:
        await fold(pool)
    assert "secret" not in hidden.value.message
    fetches.error = None
    pool.slots[0].failed_at -= 60  # it has rested
    assert await fold(pool)


async def test_promise_1_what_fails_again_and_again_rests_longer_and_longer(
    pool: Pool, fetches: Fetches, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("adapters.pool.slot.monotonic", lambda: now)
    fetches.error = ModelLoadFailed("no files")
    tried = []
    for _ in range(200):
        with pytest.raises((ModelLoadFailed, Interrupted)):
            await fold(pool)
        if len(fetches.names) > len(tried):
            tried.append(now)
        now += 1
    pauses = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert pauses[:6] == [1, 1, 2, 4, 8, 16]
    assert max(pauses) <= 60
    fetches.error = None
    now += 60
    assert await fold(pool)
    assert pool.slots[0].failures == 0


async def test_a_request_that_goes_away_does_not_stop_the_loading_others_wait_for(pool: Pool, fetches: Fetches) -> None:
    first, second = asyncio.create_task(fold(pool)), asyncio.create_task(fold(pool))
    await asyncio.sleep(0.02)
    first.cancel()
    assert await second
    assert fetches.names == ["words"]


async def test_promise_1_a_dead_model_is_loaded_anew(
    pool: Pool, fetches: Fetches, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool.lease("words", TextAdapter) as model:
        pass
    monkeypatch.setattr(FakeText, "alive", property(lambda self: self is not model))
    assert await fold(pool)
    assert fetches.names == ["words", "words"]


async def test_leases_end_however_the_work_ends(pool: Pool) -> None:
    with pytest.raises(GenerationFailed):
        async for _ in pool.stream(
            "words", TextAdapter, lambda m: m.generate(TextRequest(prompt="[fail_after=1] a b"))
        ):
            pass
    stream = pool.stream("words", TextAdapter, lambda m: m.generate(TextRequest(prompt="a b c")))
    await anext(stream)
    assert pool.slots[0].leases == 1
    await stream.aclose()
    assert pool.slots[0].leases == 0


async def test_promise_15_stress_of_leases_and_unloads(pool: Pool) -> None:
    broken: list[str] = []

    async def use(index: int) -> None:
        for turn in range(20):
            async with pool.lease("words", TextAdapter) as model:
                await asyncio.sleep(0.001 * ((index + turn) % 3))
                if not model.loaded:  # pyright: ignore
                    broken.append("unloaded while leased")

    async def unload() -> None:
        for _ in range(15):
            await pool.unload("words")
            await asyncio.sleep(0.005)

    async with asyncio.timeout(30):
        await asyncio.gather(*(use(i) for i in range(12)), unload(), unload())
    assert not broken
    assert pool.slots[0].leases == 0


@pytest.mark.slow
async def test_closing_the_pool_ends_loading_and_loaded_models(pool: Pool) -> None:
    async with pool.lease("pictures", ImageAdapter) as model:
        assert [e async for e in model.generate(ImageRequest("x", width=8, height=8, num_inference_steps=1))]
    waiting = asyncio.create_task(fold(pool))
    await asyncio.sleep(0.005)
    await pool.aclose()
    with pytest.raises(ModelLoadFailed):
        await waiting
    assert [slot.state for slot in pool.slots if slot.adapter] == []


@pytest.mark.slow
async def test_progress_is_logged_in_steps(pool: Pool, fetches: Fetches, caplog: pytest.LogCaptureFixture) -> None:
    async def fetch(name: str, entry: ModelEntry, report: Report) -> Path:
        for percent in range(101):
            report(LoadProgress("downloading", percent / 100))
        report(LoadProgress("converting"))
        return Path()

    pool._fetch = fetch
    with caplog.at_level("INFO", "adapters.pool.pool"):
        assert await fold(pool)
    lines = [line for line in caplog.messages if line.startswith("words: downloading")]
    assert lines[0].endswith(" 0%")
    assert lines[-1].endswith(" 100%")
    assert len(lines) <= 12
    assert "words: converting" in caplog.messages


# --- one budget of memory


def small(
    fetches: Fetches,
    names: str = "abc",
    budget: int = 20,
    budgets: Mapping[int | None, int] | None = None,
    **options: Any,
) -> Pool:
    """Models of ten bytes each, of which two fit."""
    entries = {name: ModelEntry(kind="text", backend="fake-text", **options.pop(name, {})) for name in names}
    return Pool(
        entries,
        Profile(models=tuple(names)),
        fetches,
        budgets=budgets or {None: budget},
        estimate=lambda *_: 10,
        **options,
    )


async def use(pool: Pool, name: str, words: str = "a b") -> list[Any]:
    request = TextRequest(prompt=words)
    return [event async for event in pool.stream(name, TextAdapter, lambda model: model.generate(request))]


def ready(pool: Pool) -> str:
    return "".join(slot.name for slot in pool.slots if slot.state == "ready")


async def test_the_least_recently_used_model_makes_room(fetches: Fetches) -> None:
    pool = small(fetches)
    for name in "abac":
        assert await use(pool, name)
    assert ready(pool) == "ac"
    assert sum(slot.reserved_bytes for slot in pool.slots) == 20


async def test_a_model_that_can_never_fit_says_so_at_once_with_the_numbers(fetches: Fetches) -> None:
    pool = small(fetches, budget=9 * 2**30)
    pool._estimate = lambda *_: 10 * 2**30
    with pytest.raises(OutOfMemory, match=r"10\.00 GiB; the memory budget is 9\.00 GiB"):
        await use(pool, "a")
    assert pool.slots[0].state == "failed"
    assert pool.slots[0].reserved_bytes == 0


async def test_a_pinned_model_stays(fetches: Fetches) -> None:
    pool = small(fetches, a={"pin": True})
    for name in "abcbc":
        assert await use(pool, name)
    assert "a" in ready(pool)
    assert fetches.names.count("a") == 1
    pool = small(fetches, budget=10, a={"pin": True})
    assert await use(pool, "a")
    with pytest.raises(OutOfMemory, match="pinned"):
        await use(pool, "b")


@pytest.mark.slow
async def test_promise_15_a_swap_waits_for_running_work_and_serves_both(fetches: Fetches) -> None:
    pool = small(fetches, budget=10, grace_s=0.05)
    long = asyncio.create_task(use(pool, "a", "[delay_ms=60] a b c d e f g h i j"))
    await asyncio.sleep(0.1)
    other = asyncio.create_task(use(pool, "b"))
    async with asyncio.timeout(5):
        while pool.slots[0].state != "draining":
            await asyncio.sleep(0.005)
    assert not long.done()
    assert not other.done()
    assert len(await long) == 13  # all its words: it was not cut
    assert await other
    assert ready(pool) == "b"


@pytest.mark.slow
async def test_requests_of_one_model_are_collected_before_a_swap_but_nobody_starves(fetches: Fetches) -> None:
    pool = small(fetches, budget=10, grace_s=0.3)
    stop = asyncio.Event()

    served = [0] * 6

    async def busy(index: int) -> None:
        while not stop.is_set():
            assert await use(pool, "aaabbb"[index], "[delay_ms=5] a b c")
            served[index] += 1

    tasks = [asyncio.create_task(busy(index)) for index in range(6)]
    begin = time.monotonic()
    await asyncio.sleep(3)
    while min(served) < 3:  # a busy machine may have stopped the whole process for a while
        assert time.monotonic() - begin < 15, "somebody starved"
        await asyncio.sleep(0.1)
    took = time.monotonic() - begin
    stop.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks)
    assert sum(served) > 5 * len(fetches.names), "a swap for nearly every request"
    assert 4 <= len(fetches.names) <= 14 + (took - 3) / 0.3, "a swap about every 0.3 s"


@pytest.mark.slow
@pytest.mark.parametrize("grace_s", [0.0, 0.2])
async def test_models_that_take_long_to_load_still_serve_before_they_are_swapped(
    fetches: Fetches, grace_s: float
) -> None:
    """Longer than anybody's patience: whoever waits for the memory has waited enough by the time it is loaded."""
    slow = {"options": {"load_delay_ms": 300}}
    pool = small(fetches, names="ab", budget=10, grace_s=grace_s, a=slow, b=slow)

    async def one(name: str) -> None:
        for _ in range(3):
            assert await use(pool, name, "[delay_ms=20] a b")

    async with asyncio.timeout(20):
        await asyncio.gather(one("a"), one("b"), one("a"), one("b"))
    assert len(fetches.names) <= 13


async def test_promise_15_stress_under_a_budget_of_two(fetches: Fetches) -> None:
    pool = small(fetches, names="abcde", grace_s=0.02)
    most = 0

    async def one(index: int) -> None:
        nonlocal most
        for turn in range(12):
            assert await use(pool, "abcde"[(index * 7 + turn * 3) % 5], "[delay_ms=1] a b")
            most = max(most, sum(slot.reserved_bytes for slot in pool.slots))

    async with asyncio.timeout(60):
        await asyncio.gather(*(one(index) for index in range(10)))
    assert most == 20
    assert all(slot.leases == slot.waiting == 0 for slot in pool.slots)
    await pool.aclose()
    assert sum(slot.reserved_bytes for slot in pool.slots) == 0


async def test_a_failed_load_gives_its_memory_back(fetches: Fetches) -> None:
    pool = small(fetches, a={"options": {"fail_load": True}}, budget=10)
    with pytest.raises(ModelLoadFailed):
        await use(pool, "a")
    assert await use(pool, "b")


@pytest.mark.slow
async def test_who_stops_waiting_for_memory_leaves_the_queue(fetches: Fetches) -> None:
    pool = small(fetches, budget=10, grace_s=60)
    stream = pool.stream("a", TextAdapter, lambda model: model.generate(TextRequest(prompt="a b c")))
    await anext(stream)
    waiting = asyncio.create_task(use(pool, "b"))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await stream.aclose()
    assert await use(pool, "c")


async def test_promise_12_out_of_memory_is_tried_once_more_without_the_idle(
    fetches: Fetches, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = small(fetches)
    assert await use(pool, "a")
    generate, fails = FakeText.generate, [OutOfMemory("full")]

    def flaky(self: FakeText, request: TextRequest) -> Any:
        if fails:
            raise fails.pop()
        return generate(self, request)

    monkeypatch.setattr(FakeText, "generate", flaky)
    assert await use(pool, "b")
    assert ready(pool) == "b"
    fails.extend([OutOfMemory("full"), OutOfMemory("full")])
    with pytest.raises(OutOfMemory):
        await use(pool, "b")
    fails.clear()
    assert await use(pool, "b"), "the model is healthy after"


@pytest.mark.slow
async def test_idle_models_are_unloaded_after_their_time(fetches: Fetches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.pool.pool.IDLE_CHECK_S", 0.02)
    pool = small(fetches, b={"idle_ttl_s": 60.0}, idle_ttl_s=0.1)
    tending = asyncio.create_task(pool.unload_idle())
    await use(pool, "a")
    await use(pool, "b")
    long = asyncio.create_task(use(pool, "a", "[delay_ms=100] a b c d"))
    await asyncio.sleep(0.3)
    assert ready(pool) == "ab", "not while it is used"
    await long
    await asyncio.sleep(0.3)
    assert ready(pool) == "b"
    tending.cancel()


async def test_promise_11_too_many_requests_are_refused(fetches: Fetches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.pool.lease.MAX_LEASES", 3)
    pool = small(fetches)
    results = await asyncio.gather(*(use(pool, "a", "[delay_ms=10] a b") for _ in range(5)), return_exceptions=True)
    assert [isinstance(result, ModelBusy) for result in results] == [False] * 3 + [True] * 2


async def test_a_model_that_can_sleep_gives_way_by_sleeping_and_wakes_without_a_load(fetches: Fetches) -> None:
    pool = small(fetches, names="ab", budget=10, a={"options": {"can_sleep": True}})
    for name in "ababa":
        assert await use(pool, name)
    assert fetches.names == ["a", "b", "b"], "a was loaded once"
    assert await use(pool, "b")
    sleeper = pool.slots[0]
    assert sleeper.asleep
    assert (sleeper.state, sleeper.reserved_bytes) == ("unloaded", 0)
    await pool.unload("a")
    assert sleeper.adapter is None
    assert not sleeper.asleep
    assert await use(pool, "a")
    assert fetches.names.count("a") == 2


async def test_stress_of_sleepers(fetches: Fetches) -> None:
    sleepy = {"options": {"can_sleep": True}}
    pool = small(fetches, names="abcd", grace_s=0.02, a=sleepy, b=sleepy, c=sleepy)

    async def one(index: int) -> None:
        for turn in range(10):
            assert await use(pool, "abcd"[(index * 5 + turn * 3) % 4], "[delay_ms=1] a b")

    async with asyncio.timeout(60):
        await asyncio.gather(*(one(index) for index in range(8)))
    await pool.aclose()
    assert not any(slot.adapter for slot in pool.slots)


async def test_an_unload_that_fails_blocks_nobody(fetches: Fetches, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: FakeText) -> None:
        raise RuntimeError("stuck")

    pool = small(fetches, budget=10)
    assert await use(pool, "a")
    monkeypatch.setattr(FakeText, "unload", broken)
    assert await use(pool, "b")
    assert pool.slots[0].state == "unloaded"


async def test_a_load_with_other_options_replaces_the_loaded_model(pool: Pool) -> None:
    await pool.load("words")
    slot = pool.slots[0]
    first = slot.adapter
    await pool.load("words", slot.entry)
    assert slot.adapter is first, "nothing has changed"
    changed = slot.entry.model_copy(update={"options": {"supports_images": False}})
    await pool.load("words", changed)
    assert slot.adapter is not first
    assert isinstance(slot.adapter, FakeText)
    assert (slot.state, slot.adapter.supports_images) == ("ready", False)
    await pool.load("words")
    assert slot.entry is changed, "a load without options keeps them"
