"""Servers that tests talk to: real processes on loopback ports."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import openai
from support.fork_server import ForkedProcess, ForkServer

from adapters.catalog.catalog import load_catalog
from adapters.loader import fetch

ROOT = Path(__file__).parents[2]
SERVER_KEYS = ("sk-first-secret", "sk-second-secret")
"""Of the fixture `keyed_server`."""
CACHE = Path(os.environ.get("MUYBRIDGE_CACHE_DIR", "~/.cache/muybridge")).expanduser()


OF_ENGINES = {"MUYBRIDGE_MEMORY_BUDGET_GIB": "10"}
"""For servers of real models: all starter models fit, whatever other tests take of the memory beside them."""


@dataclass(frozen=True)
class Running:
    """A server process."""

    port: int
    process: subprocess.Popen[bytes] | ForkedProcess
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sdk(self, *, strict: bool = True, key: str = "unused", timeout: float = 120) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.url}/v1",
            api_key=key,
            max_retries=0,
            timeout=timeout,
            _strict_response_validation=strict,
        )

    def metric(self, line: str) -> float:
        with urllib.request.urlopen(f"{self.url}/metrics") as reply:
            for found in reply.read().decode().splitlines():
                if found.startswith(line):
                    return float(found.rpartition(" ")[2])
        return 0.0

    def wait_for_metric(self, line: str, value: float, timeout_s: float = 1.0) -> None:
        """Waits until a metric has a value; what is freed "within a second" is checked so."""
        deadline = time.monotonic() + timeout_s
        while (found := self.metric(line)) != value:
            assert time.monotonic() < deadline, f"{line} is {found}, not {value}, after {timeout_s} s"
            time.sleep(0.02)


@cache
def has_gpu() -> bool:
    return (
        shutil.which("nvidia-smi") is not None
        and subprocess.run(["nvidia-smi", "-L"], capture_output=True).stdout != b""
    )


async def model_path(name: str) -> Path:
    """The files of a starter model, fetched where they are not here yet."""
    entry = load_catalog().models[name]
    return await fetch.fetch(name, entry.sources, CACHE / "models", print, backend=entry.backend)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def serving(tmp_path: Path, *, profile: str = "fake", timeout_s: float = 120, **env: str) -> Iterator[Running]:
    """A server as its own process, stopped by SIGTERM; its exit status must be 0."""
    port = free_port()
    tmp_path.mkdir(parents=True, exist_ok=True)
    log = tmp_path / "server.log"
    settings = {
        "MUYBRIDGE_PROFILE": profile,
        "MUYBRIDGE_PORT": str(port),
        "MUYBRIDGE_DATA_DIR": str(tmp_path / "data"),
        "MUYBRIDGE_CACHE_DIR": str(CACHE),
        "MUYBRIDGE_DRAIN_S": "5",
        **(OF_ENGINES if profile in ("starter", "mine") else {}),
        **env,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MUYBRIDGE_")}
    process = start(profile, inherited | settings, log)
    running = Running(port, process, log)
    try:
        wait_until_live(running, timeout_s)
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the server did not stop:\n{log.read_text()[-3000:]}") from None
    assert status in (0, -signal.SIGKILL), log.read_text()[-3000:]


def start(profile: str, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes] | ForkedProcess:
    """Servers of engines are started as users start them: their memory and their processes are looked at."""
    with log.open("wb") as output:
        if profile != "starter":
            return fork_server().start(["serve"], environment, output, output)
        return subprocess.Popen([sys.executable, "-m", "server", "serve"], env=environment, stderr=output, cwd=ROOT)


def default_signals() -> None:
    """For `preexec_fn`: signals end the process, also where the tests run under nohup or in the background."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def muybridge(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end, without the settings of this process."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MUYBRIDGE_")}
    return fork_server().run(arguments, clean | environment)


@cache
def fork_server() -> ForkServer:
    """One of each process that runs tests."""
    return ForkServer()


def wait_until_live(running: Running, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            urllib.request.urlopen(f"{running.url}/health/live", timeout=1).close()
            return
        except OSError:
            assert running.process.poll() is None, running.log.read_text()[-3000:]
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
