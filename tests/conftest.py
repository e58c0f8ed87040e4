"""Fixtures and marks of the whole suite."""

from collections.abc import Iterator

import openai
import pytest
from support.servers import Running, has_gpu, serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` are skipped, and say so, where there is none."""
    if any(item.get_closest_marker("gpu") for item in items) and not has_gpu():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


@pytest.fixture(scope="session")
def fake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of fakes, without keys."""
    with serving(tmp_path_factory.mktemp("fake")) as running:
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
