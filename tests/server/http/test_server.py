"""The public port against slow and greedy clients, and its end."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvicorn
from support.raw import send
from support.servers import Running, muybridge, serving
from uvicorn.server import ServerState

from server.http import protocol


@pytest.mark.slow
def test_promise_9_a_slow_head_is_cut_off(fake_server: Running) -> None:
    with socket.create_connection(("127.0.0.1", fake_server.port)) as slow:
        slow.settimeout(protocol.HEAD_TIMEOUT_S + 5)
        started = time.monotonic()
        dripping = threading.Event()

        def drip() -> None:
            for byte in b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1000:
                try:
                    slow.sendall(bytes([byte]))
                except OSError:
                    return
                if dripping.wait(0.3):
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        reply = slow.recv(65536)
        dripping.set()
        thread.join()
    assert time.monotonic() - started == pytest.approx(protocol.HEAD_TIMEOUT_S, abs=2)
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"


def test_promise_9_health_answers_while_hundreds_of_sockets_are_silent(fake_server: Running) -> None:
    silent = [socket.create_connection(("127.0.0.1", fake_server.port)) for _ in range(300)]
    try:
        took = []
        with httpx.Client() as client:
            for _ in range(50):
                started = time.perf_counter()
                assert client.get(f"{fake_server.url}/health/live").status_code == 200
                took.append(time.perf_counter() - started)
        assert sorted(took)[-2] < 0.1
    finally:
        for connection in silent:
            connection.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"".join([b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n" * 20_000, b"\r\n"]),
    ],
)
def test_promise_9_a_giant_head_is_refused(fake_server: Running, request_: bytes) -> None:
    reply = send(fake_server.port, request_)
    assert (reply.status, reply.error["code"]) == (431, "head_too_large")


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    ],
)
def test_promise_7_what_is_not_http_is_a_400_in_the_envelope(fake_server: Running, request_: bytes) -> None:
    reply = send(fake_server.port, request_)
    assert reply.status == 400
    assert set(reply.error) == {"message", "type", "param", "code"}
    assert reply.headers["x-request-id"].startswith("req_")


HEAD = b"Host: localhost\r\nContent-Type: application/json\r\n"


class Wire(asyncio.Transport):
    """Remembers what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def close(self) -> None:
        self.pieces.append(b"closed")

    def get_write_buffer_size(self) -> int:
        return 0


async def test_a_head_goes_out_with_what_follows_it_at_once_and_else_alone() -> None:
    wire = Wire()
    joined = protocol._HeadBufferingTransport(wire, asyncio.get_running_loop())
    joined.write(b"HTTP/1.1 200 OK\r\n\r\n")
    assert joined.get_write_buffer_size() > 0
    joined.write(b"body")
    joined.write(b"more")
    joined.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert wire.pieces == [b"HTTP/1.1 200 OK\r\n\r\nbody", b"more"]
    await asyncio.sleep(0)
    assert wire.pieces[2:] == [b"HTTP/1.1 204 No Content\r\n\r\n"]
    joined.write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    joined.close()
    assert wire.pieces[3:] == [b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"closed"]


@pytest.mark.slow
async def test_promise_9_what_follows_a_reply_and_is_no_request_has_an_end(fake_server: Running) -> None:
    async def follow(request: bytes, rest: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake_server.port)
        with contextlib.closing(writer):
            writer.write(request)
            await reader.readuntil(b"}")
            writer.write(rest)
            await reader.read()

    refused = b"POST /v1/chat/completions HTTP/1.1\r\n" + HEAD + b"Content-Length: 99999999999\r\n\r\n"
    async with asyncio.timeout(protocol.HEAD_TIMEOUT_S + 3):
        await asyncio.gather(
            follow(b"GET /health/live HTTP/1.1\r\n" + HEAD + b"\r\n", b"\r\n"), follow(refused, b"the rest of a body")
        )


@pytest.mark.parametrize("pieces", [1, 1000])
async def test_promise_9_a_reader_that_takes_nothing_is_cut_off(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SEND_TIMEOUT_S", 0.3)
    over = asyncio.Event()

    async def giant(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for index in range(pieces):
            body = b"x" * (50_000_000 // pieces)
            await send({"type": "http.response.body", "body": body, "more_body": index + 1 < pieces})
        over.set()

    config = uvicorn.Config(giant, http=protocol.GuardedProtocol, ws="none", lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: protocol.GuardedProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with contextlib.closing(slow):
        await asyncio.to_thread(slow.connect, server.sockets[0].getsockname())
        slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(5):
            await over.wait()  # the application is let go
            while state.connections:
                await asyncio.sleep(0.02)
    server.close()


def test_promise_14_sigterm_drains_and_leaves_no_children(tmp_path: Path) -> None:
    with serving(tmp_path, MUYBRIDGE_DRAIN_S="10") as running:
        process = psutil.Process(running.process.pid)
        body = {
            "model": "fake-text",
            "stream": True,
            "messages": [{"role": "user", "content": "[delay_ms=300] a b c d e f"}],
        }
        with httpx.stream("POST", f"{running.url}/v1/chat/completions", json=body) as reply:
            lines = reply.iter_lines()
            next(lines)
            os.kill(running.process.pid, signal.SIGTERM)
            time.sleep(0.3)
            assert httpx.get(f"{running.url}/health/live").status_code == 200
            assert httpx.get(f"{running.url}/health/ready").status_code == 503
            late = httpx.post(f"{running.url}/v1/chat/completions", json=body)
            assert (late.status_code, late.json()["error"]["code"], late.headers["retry-after"]) == (
                503,
                "draining",
                "5",
            )
            rest = list(lines)
        assert rest[-2] == "data: [DONE]" or rest[-1] == "data: [DONE]"
        assert running.process.wait(5) == 0
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_promise_14_the_drain_has_an_end(tmp_path: Path) -> None:
    with serving(tmp_path, MUYBRIDGE_DRAIN_S="1") as running:
        body = {
            "model": "fake-text",
            "stream": True,
            "messages": [{"role": "user", "content": "[delay_ms=100] [tokens=900]"}],
        }
        with httpx.stream("POST", f"{running.url}/v1/chat/completions", json=body) as reply:
            lines = reply.iter_lines()
            next(lines)
            os.kill(running.process.pid, signal.SIGTERM)
            started = time.monotonic()
            try:
                rest = list(lines)
            except httpx.HTTPError:
                rest = []
        assert "data: [DONE]" not in rest
        assert running.process.wait(8) == 0
        assert time.monotonic() - started < 6


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    return muybridge("serve", "--profile", "fake", *arguments)


def test_promise_30_a_busy_port_or_an_unusable_folder_is_told_in_one_line(fake_server: Running, tmp_path: Path) -> None:
    busy = start("--port", str(fake_server.port), "--data-dir", str(tmp_path))
    folder = start("--port", "0", "--data-dir", "/proc/nowhere")
    for result, words in ((busy, f"port {fake_server.port}: Address already in use"), (folder, "/proc/nowhere")):
        assert result.returncode == 2
        assert words in result.stderr
        assert "Traceback" not in result.stderr
