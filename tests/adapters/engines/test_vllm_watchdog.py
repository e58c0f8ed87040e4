"""The watchdog of vLLM's engines, on real processes and a client that answers as it is told to."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from adapters.engines import vllm_watchdog

IDLE = "import time; time.sleep(60)"
BUSY = "while True: pass"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_watchdog, "CHECK_EVERY_S", 0.05)
    monkeypatch.setattr(vllm_watchdog, "HANG_S", 0.6)
    monkeypatch.setattr(vllm_watchdog, "WORKING_S", 0.02)


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", request.param]) as running:
        yield running
        running.kill()


def client(answers: bool) -> SimpleNamespace:
    async def ask() -> bool:
        if not answers:
            await asyncio.sleep(60)
        return False

    return SimpleNamespace(errored=False, engine_core=SimpleNamespace(is_sleeping_async=ask))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "answers", "stopped", "killed"),
    [(IDLE, True, False, False), (IDLE, False, True, True), (BUSY, False, False, False), (BUSY, False, True, True)],
    ids=["answers", "idle-and-silent", "long-step", "stopped"],
    indirect=["process"],
)
async def test_promise_43_an_engine_that_neither_answers_nor_works_is_killed(
    process: subprocess.Popen[bytes], answers: bool, stopped: bool, killed: bool
) -> None:
    await asyncio.sleep(0.5)  # for its start
    if stopped:
        process.send_signal(signal.SIGSTOP)
    watching = asyncio.create_task(vllm_watchdog.watch(client(answers), [process]))  # pyright: ignore[reportArgumentType]
    await asyncio.wait([watching], timeout=1.5)
    assert watching.done() == killed
    if killed:
        assert process.wait(5) == -signal.SIGKILL
    else:
        assert process.poll() is None
    watching.cancel()
