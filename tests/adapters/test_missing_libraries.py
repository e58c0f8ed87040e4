"""Backends whose libraries are not installed say so before anything is fetched."""

import tomllib
from pathlib import Path

import pytest
from support.servers import ROOT

from adapters import registry
from adapters.base import Report, TextAdapter
from adapters.catalog.catalog import ModelEntry, Profile
from adapters.errors import ModelLoadFailed
from adapters.pool.pool import Pool
from adapters.registry import Backend

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


@pytest.mark.parametrize("backend", registry.BACKENDS)
def test_every_backend_names_an_extra_that_there_is(backend: str) -> None:
    row = registry.BACKENDS[backend]
    assert bool(row.libraries) == (not backend.startswith("fake"))
    if row.libraries and row.libraries != ("vllm",):  # two extras bring vLLM, and the installer chooses
        assert row.extra in EXTRAS
        assert row.extra in EXTRAS["models"][0]


async def test_a_model_without_its_library_is_not_even_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Backend(
        kinds=("text",),
        target="adapters.fake.models:FakeText",
        process="server",
        libraries=("no_such_library", "json"),
        extra="speech",
    )
    monkeypatch.setitem(registry.BACKENDS, "absent", row)
    fetched: list[str] = []

    async def fetch(name: str, entry: ModelEntry, report: Report) -> Path:
        fetched.append(name)
        return Path()

    assert registry.missing("fake-text") == ""
    pool = Pool({"mine": ModelEntry(kind="text", backend="absent")}, Profile(models=("mine",), aliases={}), fetch)
    with pytest.raises(ModelLoadFailed, match=r"^no_such_library must be installed: .*'muybridge\[speech\]'"):
        async with pool.lease("mine", TextAdapter):
            pass
    assert not fetched
