"""The wheel alone: built, installed into an empty environment, started from a directory that is not ours."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.servers import ROOT, free_port

from server.commands.install import CONSTRAINTS

pytestmark = pytest.mark.long

SHADOWS = ("server", "adapters", "compat", "pip", "litestar", "yaml")
"""Packages of the current directory that must never be imported in place of ours."""


def clean_environment() -> dict[str, str]:
    """This machine's index and certificates, without what would make our checkout importable."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and what it requires, without extras."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip"]
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", *quiet, "--no-deps", "--wheel-dir", place, ROOT], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], check=True)  # as uv makes them
    python = str(place / "venv" / "bin" / "python")
    (built,) = place.glob("*.whl")
    subprocess.run([*pip, "--python", python, "install", *quiet, "-c", CONSTRAINTS, built], check=True)
    return place / "venv" / "bin"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose packages write a file when they are imported."""
    place = tmp_path_factory.mktemp("elsewhere")
    for name in SHADOWS:
        (place / name).mkdir()
        (place / name / "__init__.py").write_text(f"open({str(place / 'imported')!r}, 'a').write({name!r})\n")
    return place


@pytest.fixture(scope="module")
def url(environment: Path, hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the wheel's command, on the fakes and the starter's speech."""
    port = free_port()
    data = tmp_path_factory.mktemp("data")
    catalog = data / "catalog.yaml"
    catalog.write_text(
        "profiles: {both: {models: [fake-text, fake-video, qwen2.5-coder-0.5b-instruct, whisper-base, starter-image]}}\n"
    )
    options = ["--profile", "both", "--catalog", catalog, "--port", str(port), "--data-dir", data]
    options += ["--cache-dir", data / "cache"]
    with subprocess.Popen(
        [environment / "muybridge", "serve", *options], cwd=hostile, env=clean_environment()
    ) as server:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
        server.terminate()
        assert server.wait(30) == 0


def call(url: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_it_brings_no_engine(environment: Path) -> None:
    code = "import importlib.util as u; print([n for n in ('torch', 'vllm', 'diffusers', 'ctranslate2') if u.find_spec(n)])"
    found = subprocess.run([environment / "python", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_it_serves_the_fakes(url: str, hostile: Path) -> None:
    status, reply = call(
        f"{url}/chat/completions", {"model": "fake-text", "messages": [{"role": "user", "content": "a b"}]}
    )
    assert status == 200
    assert reply["choices"][0]["message"]["content"] == "a b"
    # A video goes through the job queue's database and through the process that works on media.
    status, video = call(f"{url}/videos", {"model": "fake-video", "prompt": "a fox"})
    assert status == 200
    deadline = time.monotonic() + 60
    while video["status"] in ("queued", "in_progress"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
        video = call(f"{url}/videos/{video['id']}")[1]
    assert video["status"] == "completed"
    assert not (hostile / "imported").exists()


@pytest.mark.parametrize(
    ("path", "body", "library", "extra"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "a"}], "model": "qwen2.5-coder-0.5b-instruct"}, "vllm", ""),
        ("images/generations", {"prompt": "a fox", "model": "starter-image"}, "diffusers", "muybridge[image]"),
    ],
)  # fmt: skip
def test_a_missing_library_is_named_with_what_installs_it(
    url: str, path: str, body: dict[str, Any], library: str, extra: str
) -> None:
    status, reply = call(f"{url}/{path}", body)
    assert status == 503
    assert reply["error"]["code"] == "model_load_failed"
    assert library in reply["error"]["message"]
    assert "`muybridge install`" in reply["error"]["message"]
    assert extra in reply["error"]["message"]


def test_its_demo_says_what_is_missing(environment: Path, hostile: Path) -> None:
    done = subprocess.run([environment / "muybridge", "demo"], cwd=hostile, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "muybridge: vllm must be installed: `muybridge install` installs all backends.\n"
    assert not (hostile / "demo-output").exists()


def test_its_other_commands_work_without_engines(environment: Path, hostile: Path) -> None:
    for arguments in (["config", "show"], ["models", "list"], ["install", "--help"], ["doctor", "--profile", "fake"]):
        done = subprocess.run(
            [environment / "muybridge", *arguments], cwd=hostile, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
    assert not (hostile / "imported").exists()
