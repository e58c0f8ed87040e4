"""Several servers on one data directory or one database: all start, and one takes over what a dead one leaves."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import httpx
import openai
import pytest
from support import postgres
from support.raw import send
from support.servers import CACHE, ROOT, Running, free_port, serving

ROUNDS = 12
TOGETHER = 2
"""Servers of each round: 24 starts."""


def start(data: Path, log: Path) -> tuple[int, subprocess.Popen[bytes]]:
    """A server as users start it: a process of its own, which shares nothing with the tests."""
    port = free_port()
    settings = {"MUYBRIDGE_PROFILE": "fake", "MUYBRIDGE_PORT": str(port), "MUYBRIDGE_DATA_DIR": str(data)}
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "MUYBRIDGE_CACHE_DIR": str(CACHE), **settings}
    command = [sys.executable, "-m", "server", "serve"]
    with log.open("wb") as output:
        return port, subprocess.Popen(command, env=environment, stderr=output, stdout=output, cwd=ROOT)


def is_live(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.long
@pytest.mark.parametrize("kind", ["new", "again"])
def test_promise_41_two_servers_start_on_one_directory_at_the_same_moment(tmp_path: Path, kind: str) -> None:
    """24 starts, on new directories and on one that they all use; issue 18 saw 3 of 24 crash."""
    for number in range(ROUNDS):
        data = tmp_path / (f"data{number}" if kind == "new" else "data")
        logs = [tmp_path / f"{number}-{one}.log" for one in range(TOGETHER)]
        servers = [start(data, log) for log in logs]
        try:
            deadline = time.monotonic() + 240  # a start takes a second; 20 on a machine that is busy
            while not all(is_live(port) for port, _ in servers):
                for (_, process), log in zip(servers, logs, strict=True):
                    assert process.poll() is None, (number, log.read_text()[-2000:])
                assert time.monotonic() < deadline
                time.sleep(0.1)
            for port, _ in servers:
                with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x", max_retries=0) as client:
                    client.files.create(file=("a.png", b"x"), purpose="vision")
                    client.responses.create(model="fake-text", input="hi", store=True)
        finally:
            for _, process in servers:
                process.terminate()
            statuses = [process.wait(30) for _, process in servers]
        assert statuses == [0, 0], [log.read_text()[-2000:] for log in logs]
        assert not any("Traceback" in log.read_text() for log in logs)


@pytest.mark.slow
def test_promise_41_a_dead_servers_videos_and_responses_are_taken_over(tmp_path: Path) -> None:
    """Two servers on one directory; the one that renders is killed with work queued, running, and streaming."""
    data = str(tmp_path / "data")
    with ExitStack() as both:
        first = both.enter_context(serving(tmp_path / "one", MUYBRIDGE_DATA_DIR=data))
        client = both.enter_context(first.sdk(strict=False))
        client.videos.create(model="fake-video", prompt="x")
        second = both.enter_context(serving(tmp_path / "two", MUYBRIDGE_DATA_DIR=data))
        other = both.enter_context(second.sdk(strict=False))
        made = [client.videos.create(model="fake-video", prompt="[delay_ms=300] a fox").id for _ in range(3)]
        made.append(other.videos.create(model="fake-video", prompt="a hare").id)
        answer = client.responses.create(
            model="fake-text", input="[delay_ms=2000] a b c d e f g h i j k l", background=True
        )
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(20)
        deadline = time.monotonic() + 90
        while (left := {one: other.videos.retrieve(one).status for one in made}) != dict.fromkeys(made, "completed"):
            assert time.monotonic() < deadline, left
            assert "failed" not in left.values(), left
            time.sleep(0.2)
        for one in made:
            assert other.videos.download_content(one).read()[4:8] == b"ftyp"
        while (found := other.responses.retrieve(answer.id)).status not in ("failed", "completed"):
            assert time.monotonic() < deadline, found.status
            time.sleep(0.5)
        assert found.error is not None
        assert "Send the request again" in found.error.message


@pytest.fixture(scope="module")
def on_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with (
        tempfile.TemporaryDirectory() as directory,
        postgres.postgres(Path(directory)) as database,
        serving(tmp_path_factory.mktemp("pg"), MUYBRIDGE_DATABASE_URL=database.url) as running,
    ):
        yield running


ODD = [
    "\0",
    "a\0b",
    "\0" * 50,
    "\ud800",
    "\udfff\ud83d",
    "é" * 300,
    "x" * 10_000,
    "%",
    "%s",
    "';--",
    "\n",
    "\u202e",
    "a/b",
    "..",
]
BYTES = ["%ff", "%c0%80", "%ed%a0%80", "%00", "file-%00", "resp_%00", "video_%ff", "%2500"]
TARGETS = [
    *("/v1/files/{}", "/v1/files/{}/content", "/v1/responses/{}", "/v1/responses/{}/input_items", "/v1/videos/{}"),
    *("/v1/videos/{}/content", "/v1/models/{}", "/v1/images/content/{}", "/v1/configurations/{}"),
    *("/v1/files?after={}", "/v1/files?purpose={}", "/v1/videos?after={}", "/v1/files?order={}", "/v1/files?limit={}"),
    "/v1/responses/resp_x/input_items?after={}",
]


@pytest.mark.parametrize("target", TARGETS)
def test_promise_39_odd_ids_and_parameters_on_postgresql(on_postgresql: Running, target: str) -> None:
    written = [quote(one.encode("utf-8", "surrogatepass"), safe="") for one in ODD] + BYTES
    for method in ("GET", "DELETE") if "?" not in target else ("GET",):
        for one in written:
            head = f"{method} {target.format(one)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            reply = send(on_postgresql.port, head.encode())
            assert reply.status < 500, (method, target, one, reply)
            if reply.status >= 400:
                assert set(reply.error) == {"message", "type", "param", "code"}, (method, target, one)
    assert "Traceback" not in on_postgresql.log.read_text()


@pytest.mark.parametrize("odd", ["a\0b", "\ud800", "\0"])
def test_promise_39_odd_texts_in_bodies_on_postgresql(on_postgresql: Running, odd: str) -> None:
    bodies = {
        "/v1/responses": [
            {"model": "fake-text", "input": odd, "metadata": {odd: odd}},
            {"model": "fake-text", "input": "x", "previous_response_id": odd},
            {"model": "fake-text", "input": "x", "conversation": odd},
            {"model": "fake-text", "input": [{"type": "item_reference", "id": odd}]},
            {"model": "fake-text", "input": [{"role": "user", "content": odd, "id": odd}]},
            {"model": "fake-text", "input": [{"type": "function_call_output", "call_id": odd, "output": odd}]},
            {"model": "fake-text", "input": "x", "user": odd, "instructions": odd, "safety_identifier": odd},
        ],
        "/v1/videos": [{"model": "fake-video", "prompt": odd}, {"model": "fake-video", "prompt": "x", "seconds": odd}],
        "/v1/videos/edits": [{"prompt": "x", "video": {"id": odd}}],
        "/v1/chat/completions": [
            {
                "model": "fake-vision",
                "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": odd}}]}],
            }
        ],
    }
    for path, each in bodies.items():
        for body in each:
            content = json.dumps(body).encode()  # httpx cannot write surrogates
            header = {"content-type": "application/json"}
            reply = httpx.post(f"{on_postgresql.url}{path}", content=content, headers=header, timeout=30)
            assert reply.status_code < 500, (path, body, reply.text)
    for name in (odd, f"{odd}.png"):
        shown = name.encode("utf-8", "surrogatepass")
        form = b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nvision\r\n--B\r\nContent-Disposition: form-data;'
        form += b' name="file"; filename="%b"\r\n\r\nx\r\n--B--\r\n' % shown
        header = {"content-type": "multipart/form-data; boundary=B", "idempotency-key": "k"}
        reply = httpx.post(f"{on_postgresql.url}/v1/files", content=form, headers=header)
        assert reply.status_code < 500, reply.text
    assert "Traceback" not in on_postgresql.log.read_text()
