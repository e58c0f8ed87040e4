"""The cache: what is in it, when it was used, whether it is still what was downloaded, and how it goes."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from support.hub import COMMIT, Hub

from adapters.base import LoadProgress
from adapters.errors import ModelBusy, ModelLoadFailed, ModelNotFound
from adapters.loader.cache import delete, find_cached, list_cached, lock_path, mark_accessed
from adapters.loader.fetch import MANIFEST, HubSource, fetch, locate
from adapters.loader.verification import verify

TINY = HubSource(repo="org/tiny")


def ignore(_: LoadProgress) -> None:
    pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


async def pull(hub: Hub, cache: Path, name: str = "org/mine", *, to_load: bool = False) -> Path:
    return await fetch(name, [TINY], cache, ignore, backend="vllm", hub_endpoint=hub.url, to_load=to_load)


async def test_cached_models_are_listed_with_size_and_times(hub: Hub, tmp_path: Path) -> None:
    assert list_cached(tmp_path / "nowhere") == []
    before = int(time.time())
    directory = await pull(hub, tmp_path)
    (tmp_path / "not-a-model").mkdir()
    [model] = list_cached(tmp_path)
    assert (model.name, model.path, model.source, model.commit) == ("org/mine", directory, "hf://org/tiny", COMMIT)
    assert model.size_bytes == sum(path.stat().st_size for path in directory.iterdir() if path.name != MANIFEST)
    assert before <= model.downloaded_at == model.last_accessed_at <= time.time()


async def test_fetching_for_loading_counts_as_use_and_pulling_does_not(hub: Hub, tmp_path: Path) -> None:
    directory = await pull(hub, tmp_path)
    accessed = tmp_path / ".org--mine.accessed"
    assert not accessed.exists()
    await pull(hub, tmp_path, to_load=True)
    os.utime(accessed, (4e9, 4e9))
    await pull(hub, tmp_path)
    assert list_cached(tmp_path)[0].last_accessed_at == 4_000_000_000
    mark_accessed(directory)
    assert list_cached(tmp_path)[0].last_accessed_at <= time.time()


async def test_promise_16_what_changes_in_the_cache_is_found(hub: Hub, tmp_path: Path) -> None:
    directory = await pull(hub, tmp_path)
    heard: list[tuple[int, int]] = []
    found = verify(directory, lambda done, total: heard.append((done, total)))
    assert (found.is_valid, found.hashed, found.files, found.problems) == (True, True, 4, ())
    assert heard[-1] == (found.size_bytes, found.size_bytes)
    content = bytearray((directory / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (directory / "model.safetensors").write_bytes(content)
    (directory / "tokenizer.json").unlink()
    (directory / "config.json").write_text("{}")
    (directory / "extra.txt").write_text("x")
    assert set(verify(directory).problems) == {
        "config.json: it has 2 bytes instead of 22",
        "extra.txt: it was added later",
        "model.safetensors: its checksum differs",
        "tokenizer.json: it is missing",
    }
    (directory / MANIFEST).write_text("{}")
    assert any("cannot be read" in problem for problem in verify(directory).problems)
    assert not verify(directory / "nothing").is_valid


async def test_removing_leaves_nothing(hub: Hub, tmp_path: Path) -> None:
    directory = await pull(hub, tmp_path, to_load=True)
    (tmp_path / ".org--mine.hub").mkdir()
    (tmp_path / ".org--mine.hub" / "x.part").write_bytes(bytes(1000))
    size = sum(path.stat().st_size for path in directory.iterdir())
    assert delete(tmp_path, "org/mine") == size + 1000
    assert [path.name for path in tmp_path.iterdir()] == [".org--mine.lock"]
    assert find_cached(tmp_path, "org/mine") is None
    for name in ("org/mine", "../etc", "", "never"):
        with pytest.raises(ModelNotFound):
            delete(tmp_path, name)


async def test_promise_15_what_is_being_fetched_is_not_removed(hub: Hub, tmp_path: Path) -> None:
    directory = await pull(hub, tmp_path)
    with FileLock(lock_path(directory)), pytest.raises(ModelBusy):
        delete(tmp_path, "org/mine")
    assert find_cached(tmp_path, "org/mine") is not None


async def test_files_are_located_without_fetching(hub: Hub, tmp_path: Path) -> None:
    assert locate("org/mine", [TINY], tmp_path) is None
    directory = await pull(hub, tmp_path)
    assert locate("org/mine", [TINY], tmp_path) == directory
    with pytest.raises(ModelLoadFailed):
        locate("../up", [TINY], tmp_path)
