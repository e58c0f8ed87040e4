"""Fixtures and marks of the whole suite."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import openai
import pytest
from support import needs
from support.servers import SERVER_KEYS, Running, has_gpu, serving
from xdist.scheduler import LoadScopeScheduling

from adapters.process.memory_usage import trim

STARTER = frozenset({"starter", "starter_server"})
"""Fixtures that only one process should have: their models take long to load, and much memory."""

hypothesis.settings.register_profile("tests", deadline=None)  # how long an example takes depends on what else runs
hypothesis.settings.load_profile("tests")


SOURCES = needs.ROOT / ".pytest_cache/needs.pickle"


def pytest_configure(config: pytest.Config) -> None:
    """Reads what tests need once for all processes of a run; `-n` starts them after this."""
    needs.load(SOURCES)
    if not hasattr(config, "workerinput"):
        needs.save(SOURCES)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where tests with engines are not asked for, files that import one are not even imported."""
    if collection_path.suffix != ".py" or "not engine" not in config.option.markexpr:
        return None
    return needs.imports_engine(collection_path) or None


class FileScheduling(LoadScopeScheduling):
    """The tests of a file run in one process, and so do those of all files that use the starter server."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "starter" if needs.uses(needs.ROOT / file, STARTER) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """For `--dist loadfile`. The groups of pytest-xdist 3.8 have no effect with pytest 9.2."""
    return FileScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks a test by what it needs."""
    if isinstance(item, pytest.Function):
        names = {item.function.__name__, *item.fixturenames}
        for mark, known in needs.NAMES.items():
            if names & (known | needs.definitions_that_need(mark, item.path)) and not item.get_closest_marker("fake"):
                item.add_marker(mark)
        if needs.imports_engine(item.path) or item.get_closest_marker("gpu"):
            item.add_marker("engine")
        if item.get_closest_marker("gpu") and not has_gpu():
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


@pytest.fixture(scope="module", autouse=True)
def return_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Returns what a module's models took to the system: a process that runs many modules would grow by gigabytes."""
    yield
    if "torch" in sys.modules and needs.imports_engine(request.path):
        trim()


@pytest.fixture(scope="session")
def fake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of fakes, without keys."""
    with serving(tmp_path_factory.mktemp("fake")) as running:
        yield running


@pytest.fixture(scope="session")
def video_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of fakes for videos of any size: lists that hold other sizes than OpenAI's four, the strict SDK refuses."""
    with serving(tmp_path_factory.mktemp("videos")) as running:
        yield running


@pytest.fixture(scope="session")
def keyed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of fakes with the two keys `SERVER_KEYS`."""
    with serving(tmp_path_factory.mktemp("keyed"), MUYBRIDGE_API_KEYS=",".join(SERVER_KEYS)) as running:
        yield running


@pytest.fixture(scope="session")
def starter_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of the starter profile: real engines, real weights; each loads on its first request."""
    with serving(tmp_path_factory.mktemp("starter"), profile="starter") as running:
        yield running


@pytest.fixture(scope="session")
def client(fake_server: Running) -> Iterator[openai.OpenAI]:
    """The official client, strict, on the fakes."""
    with fake_server.sdk() as sdk:
        yield sdk


@pytest.fixture(scope="session")
def starter(starter_server: Running) -> Iterator[openai.OpenAI]:
    """The official client, strict, on the starter profile."""
    with starter_server.sdk(timeout=600) as sdk:
        yield sdk
