"""The pool: loading once, leases, draining, failing, and the races between them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.base import ImageAdapter, ImageRequest, LoadProgress, Report, SpeechAdapter, TextAdapter, TextRequest
from adapters.configuration import ModelEntry, Profile
from adapters.errors import GenerationFailed, ModelLoadFailed, ModelNotFound, WrongModelKind
from adapters.fake import FakeText
from adapters.pool import Pool


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


async def test_with_fallback_an_unknown_name_reaches_the_kinds_first_model(fetches: Fetches) -> None:
    models = {"a": ModelEntry(kind="vision", backend="fake-text"), "b": ModelEntry(kind="text", backend="fake-text")}
    pool = Pool(models, Profile(models=("a", "b")), fetches, fallback=True)
    assert pool.find("unknown", TextAdapter).name == "b"
    with pytest.raises(ModelNotFound):
        pool.find("unknown", ImageAdapter)


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
    assert await fold(pool)


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


async def test_closing_the_pool_ends_loading_and_loaded_models(pool: Pool) -> None:
    async with pool.lease("pictures", ImageAdapter) as model:
        assert [e async for e in model.generate(ImageRequest("x", width=8, height=8, num_inference_steps=1))]
    waiting = asyncio.create_task(fold(pool))
    await asyncio.sleep(0.005)
    await pool.aclose()
    with pytest.raises(ModelLoadFailed):
        await waiting
    assert [slot.state for slot in pool.slots if slot.adapter] == []


async def test_progress_is_logged_in_steps(pool: Pool, fetches: Fetches, caplog: pytest.LogCaptureFixture) -> None:
    async def fetch(name: str, entry: ModelEntry, report: Report) -> Path:
        for percent in range(101):
            report(LoadProgress("downloading", percent / 100))
        report(LoadProgress("converting"))
        return Path()

    pool._fetch = fetch
    with caplog.at_level("INFO", "adapters.pool"):
        assert await fold(pool)
    lines = [line for line in caplog.messages if line.startswith("words: downloading")]
    assert lines[0].endswith(" 0%")
    assert lines[-1].endswith(" 100%")
    assert len(lines) <= 12
    assert "words: converting" in caplog.messages
