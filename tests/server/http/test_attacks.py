"""Attacks of issue size, each on a server of its own, by a greedy key while a modest one works."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from support.servers import SERVER_KEYS, Running, serving

GREEDY, MODEST = SERVER_KEYS
KEYS = ",".join(SERVER_KEYS)
SLOW_READERS = 900


def request(path: str, body: bytes, key: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def slow_readers(port: int, count: int) -> Iterator[None]:
    """Streams of minutes, whose clients never read."""
    text = "[delay_ms=1000] " + "word " * 100
    body = {"model": "fake-text", "stream": True, "messages": [{"role": "user", "content": text}]}
    sent = request("/v1/chat/completions", json.dumps(body).encode(), GREEDY)
    connections: list[socket.socket] = []
    try:
        for _ in range(count):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            connection.sendall(sent)
            connections.append(connection)
        yield
    finally:
        for connection in connections:
            connection.close()


def asked(running: Running, key: str = MODEST) -> tuple[int, float]:
    """Status and seconds of a short request."""
    started = time.monotonic()
    reply = httpx.post(
        f"{running.url}/v1/chat/completions",
        json={"model": "fake-text", "messages": [{"role": "user", "content": "one"}]},
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    return reply.status_code, time.monotonic() - started


@pytest.mark.long
def test_promise_36_a_key_with_900_slow_readers_leaves_another_its_answers(tmp_path: Path) -> None:
    with serving(tmp_path, MUYBRIDGE_API_KEYS=KEYS) as running:
        assert asked(running)[0] == 200
        with slow_readers(running.port, SLOW_READERS):
            found = [asked(running) for _ in range(12)]
        assert [status for status, _ in found] == [200] * 12
        assert max(seconds for _, seconds in found) < 20  # on a busy machine; it was 180 and more
        deadline = time.monotonic() + 10
        while asked(running, GREEDY)[0] != 200:  # its places come back as soon as its readers have left
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "Traceback" not in running.log.read_text()


@pytest.mark.long
def test_promise_38_memory_after_large_bodies_is_as_before(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "x" * 20}] * 4096
    messages = [{"role": "user", "content": parts} for _ in range(60)]
    sent = request("/v1/chat/completions", json.dumps({"model": "fake-text", "messages": messages}).encode(), GREEDY)
    with serving(tmp_path, MUYBRIDGE_API_KEYS=KEYS) as running:
        server = psutil.Process(running.process.pid)
        used: list[int] = []
        for _ in range(6):
            for _ in range(4):
                with socket.create_connection(("127.0.0.1", running.port), timeout=120) as connection:
                    connection.sendall(sent)
                    assert connection.recv(100).startswith(b"HTTP/1.1 ")
            used.append(server.memory_info().rss)
        assert asked(running)[0] == 200
    assert used[-1] < used[1] * 1.1, [one // 2**20 for one in used]
