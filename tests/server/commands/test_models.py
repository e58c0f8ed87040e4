"""`muybridge models ...` as a process: pulls from a hub on this machine, and talks to a running server."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.hub import Faults, Hub, weights
from support.servers import ROOT, Running, default_signals, muybridge, serving

FILES = {"config.json": b"{}", "model.safetensors": weights(4_000_000)}
CATALOG = """
models:
  tiny: {kind: text, backend: vllm, license: MIT, sources: [hf://org/tiny]}
  odd: {kind: text, backend: vllm, sources: [hf://org/odd], unusable: it needs code of its own}
profiles:
  mine: {models: [tiny, fake-text]}
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(FILES) as server:
        yield server


@dataclass
class Command:
    """The command, with a catalog, a cache and a hub of its own."""

    home: Path
    env: dict[str, str]

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "server", "models", *arguments],
            env=self.env | env,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=default_signals,
        )

    def run(self, *arguments: str, status: int = 0, **env: str) -> tuple[str, str]:
        done = muybridge("models", *arguments, **(self.env | env))
        assert done.returncode == status, done.stderr
        return done.stdout, done.stderr

    def json(self, *arguments: str, status: int = 0) -> list[dict[str, Any]]:
        return json.loads(self.run(*arguments, "--json", status=status)[0])["data"]


@pytest.fixture
def command(hub: Hub, tmp_path: Path) -> Command:
    (tmp_path / "catalog.yaml").write_text(CATALOG)
    env = {name: value for name, value in os.environ.items() if not name.startswith("MUYBRIDGE_")}
    settings = {
        "MUYBRIDGE_CATALOG": str(tmp_path / "catalog.yaml"),
        "MUYBRIDGE_PROFILE": "mine",
        "MUYBRIDGE_CACHE_DIR": str(tmp_path / "cache"),
        "HF_ENDPOINT": hub.url,
        "COLUMNS": "120",
    }
    return Command(tmp_path, env | settings)


@pytest.mark.slow
def test_models_are_pulled_listed_verified_and_removed(command: Command) -> None:
    listed = command.run("list")[0]
    assert "tiny *" in listed
    assert "cannot be served" in listed
    rows = [line for line in listed.splitlines() if " Apache-2.0 " in line]
    assert all(line.split()[0] in {row["id"] for row in command.json("list")} for line in rows)  # None is wrapped.
    assert len(rows) == sum(row["license"] == "Apache-2.0" for row in command.json("list"))
    out, bars = command.run("pull", "tiny")
    assert out == f"tiny: {command.home / 'cache' / 'models' / 'tiny'}\n"
    assert "tiny: downloading" in bars
    assert "0.00 GB of 0.00 GB" in bars
    tiny = next(row for row in command.json("list") if row["id"] == "tiny")
    assert (tiny["cached"], tiny["served"], tiny["size_bytes"]) == (True, True, sum(map(len, FILES.values())))
    assert command.json("verify", "tiny")[0]["is_valid"] is True
    assert "tiny: valid: 2 files" in command.run("verify", "tiny")[0]
    (command.home / "cache" / "models" / "tiny" / "model.safetensors").write_bytes(b"cut off")
    assert "NOT VALID" in command.run("verify", "tiny", status=1)[0]
    assert command.json("verify", "tiny", status=1)[0]["is_valid"] is False
    assert command.json("remove", "tiny")[0]["freed_bytes"] > 7
    assert not next(row for row in command.json("list") if row["id"] == "tiny")["cached"]


def test_the_list_says_what_fits_a_card(command: Command) -> None:
    rows = {row["id"]: row for row in command.json("list", "--card", "12")}
    assert rows["qwen3-8b-awq"]["fits"]
    assert rows["qwen3-8b-awq"]["recommended"]
    assert not rows["qwen2.5-14b-instruct"]["fits"]
    assert rows["kokoro-82m"]["needed_bytes"] is None, "it uses no GPU"
    assert rows["kokoro-82m"]["recommended"]
    shown = command.run("list", "--card", "12")[0]
    assert "muybridge serve --profile gpu-12" in shown
    assert "GiB on 12 GB" in shown
    assert "--card takes the gigabytes of a GPU" in command.run("list", "--card", "nan", status=2)[1]


@pytest.mark.long
def test_promise_16_a_pull_killed_at_a_random_point_goes_on_from_there(command: Command, hub: Hub) -> None:
    hub.faults.bytes_per_s = 4_000_000
    pulling = command.start("pull", "tiny")
    target = random.Random(os.environ.get("MUYBRIDGE_SEED", "2")).randrange(1, 3_000_000)
    part = command.home / "cache" / "models" / ".tiny.hub" / "files" / "model.safetensors.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size >= target) and time.monotonic() < deadline:
        time.sleep(0.01)
    pulling.kill()
    pulling.communicate()
    here = part.stat().st_size
    assert not next(row for row in command.json("list") if row["id"] == "tiny")["cached"]
    hub.faults = Faults()
    command.run("pull", "tiny")
    assert hub.ranges == [f"bytes={here}-"]
    assert command.json("verify", "tiny")[0]["is_valid"] is True


@pytest.mark.slow
def test_a_pull_that_is_interrupted_ends_quietly(command: Command, hub: Hub) -> None:
    hub.faults.bytes_per_s = 500_000
    with command.start("pull", "tiny") as pulling:
        try:
            while hub.sent_bytes < 100_000:
                time.sleep(0.01)
            pulling.send_signal(signal.SIGINT)
            errors = pulling.communicate(timeout=20)[1]
        finally:
            pulling.kill()
    assert pulling.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("pull", "nope"), "no model 'nope' in the catalog"),
        (("pull", "fake-text"), "has no files"),
        (("pull", "odd"), "cannot be loaded here: it needs code of its own"),
        (("verify", "tiny"), "not downloaded. Download it with `muybridge models pull tiny`"),
        (("verify", "nope"), "no model 'nope'"),
        (("remove", "tiny"), "not in the cache"),
        (("load", "tiny", "--url", "http://127.0.0.1:1"), "there is no Muybridge server at"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(command: Command, arguments: tuple[str, ...], why: str) -> None:
    out, errors = command.run(*arguments, status=1)
    assert out == ""
    assert errors.startswith("muybridge: ")
    assert why in errors
    assert errors.count("\n") == 1


def test_promise_30_a_wrong_profile_is_a_wrong_configuration(command: Command) -> None:
    assert "there is no profile 'other'" in command.run("list", "--profile", "other", status=2)[1]
    assert "must be http://HOST:PORT" in command.run("load", "tiny", "--url", "file:///etc", status=2)[1]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(
        tmp_path_factory.mktemp("guarded"), MUYBRIDGE_ADMIN_KEYS="admin", MUYBRIDGE_API_KEYS="user"
    ) as running:
        yield running


def test_a_running_servers_models_are_loaded_and_unloaded(command: Command, guarded: Running) -> None:
    assert command.run("load", "gpt-4o", "--url", f"{guarded.url}/v1", "--key", "admin")[0] == "fake-text: ready\n"
    here = {"MUYBRIDGE_URL": guarded.url, "MUYBRIDGE_ADMIN_KEY": "admin"}
    assert json.loads(command.run("unload", "fake-text", "--json", **here)[0])["state"] == "unloaded"
    assert (
        "needs an admin key" in command.run("load", "fake-text", status=1, **{**here, "MUYBRIDGE_ADMIN_KEY": "user"})[1]
    )
    assert "does not exist" in command.run("load", "org/nope", status=1, **here)[1]
