"""Slow, greedy and departed clients give back what all share; folders that vanish come back."""

import asyncio
import json
import shutil
import socket
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest
from support import videos
from support.raw import send
from support.servers import SERVER_KEYS, Running, serving

from server.http import bodies

FORM = "Content-Type: multipart/form-data; boundary=B"


def part(name: str, value: bytes, filename: str = "") -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    return b'--B\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name.encode(), file.encode(), value)


def slow_upload(port: int, start: bytes, key: str = "") -> socket.socket:
    """A form of which only the start arrives."""
    connection = socket.create_connection(("127.0.0.1", port))
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    head = f"POST /v1/videos HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}{FORM}\r\nContent-Length: 9000000\r\n\r\n"
    connection.sendall(head.encode() + start)
    return connection


def test_promise_36_slow_uploads_do_not_block_videos_of_the_same_key(fake_server: Running) -> None:
    slow = [slow_upload(fake_server.port, part("prompt", b"x" * 200_000)) for _ in range(40)]
    try:
        with fake_server.sdk(timeout=20, strict=False) as client:
            assert client.videos.create(model="fake-video", prompt="a fox").status == "queued"
    finally:
        for connection in slow:
            connection.close()


async def test_promise_36_a_body_that_drips_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bodies, "IDLE_TIMEOUT_S", 0.3)
    reader = bodies.BodyReader(tmp_path, max_json_bytes=10**6, max_upload_bytes=10**6, timeout_s=60)

    class Drip:
        def __init__(self) -> None:
            self.headers: dict[str, str] = {}
            self.scope = {"headers": [(b"content-type", b"application/json"), (b"content-length", b"100000")]}

        async def receive(self) -> dict[str, object]:
            await asyncio.sleep(0.02)
            return {"type": "http.request", "body": b"x", "more_body": True}

    started = time.monotonic()
    with pytest.raises(bodies.RequestError) as error:
        await reader.json_bytes(Drip())  # pyright: ignore[reportArgumentType]
    assert error.value.status == 408
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("path", "field", "limit"),
    [("/v1/files", "file", 50), ("/v1/images/edits", "image", 50), ("/v1/videos", "input_reference", 32)],
)
def test_promise_45_a_file_beyond_its_limit_is_refused_while_it_arrives(
    fake_server: Running, path: str, field: str, limit: int
) -> None:
    """Nothing after the limit is read: the reply comes while the client still sends."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{FORM}\r\nContent-Length: 900000000\r\n\r\n"
    start = part(field, b"", "big.bin")[:-2]
    with socket.create_connection(("127.0.0.1", fake_server.port), timeout=20) as connection:
        connection.sendall(head.encode() + start)
        sent, chunk = 0, b"x" * 2**20
        connection.setblocking(False)
        reply = b""
        deadline = time.monotonic() + 20
        while not reply and time.monotonic() < deadline:
            try:
                sent += connection.send(chunk)
            except BlockingIOError:
                time.sleep(0.005)
            except (BrokenPipeError, ConnectionResetError):
                break
            try:
                reply = connection.recv(65536)
            except (BlockingIOError, ConnectionResetError):
                continue
    assert reply.startswith(b"HTTP/1.1 413 "), reply[:200]
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"]["param"] == field
    assert sent < (limit + 30) * 2**20


@pytest.mark.slow
def test_promise_36_departed_clients_free_the_decoders(tmp_path: Path) -> None:
    """Uploads that take the decoder long, whose clients leave: the next one is converted at once."""
    body = part("prompt", b"a fox") + part("video", videos.clip(4000, size=(320, 240)), "clip.mp4") + b"--B--\r\n"
    head = f"POST /v1/videos/edits HTTP/1.1\r\nHost: 127.0.0.1\r\n{FORM}\r\nContent-Length: {len(body)}\r\n\r\n"
    with serving(tmp_path) as running:
        departed = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(4)]
        for connection in departed:
            connection.sendall(head.encode() + body)
        decoders = psutil.Process(running.process.pid)
        deadline = time.monotonic() + 20
        while len(decoders.children(recursive=True)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for connection in departed:
            connection.close()
        deadline = time.monotonic() + 3
        while decoders.children(recursive=True):
            assert time.monotonic() < deadline, "the decoders still work for clients that have left"
            time.sleep(0.05)


@pytest.mark.parametrize("target", ["/v1/files/%00", "/v1/responses/a%00b", "/v1/videos/%ff", "/v1/files?after=%00"])
def test_promise_39_odd_urls_are_4xx(fake_server: Running, target: str) -> None:
    reply = send(fake_server.port, f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert reply.status in (400, 404)
    assert set(reply.error) == {"message", "type", "param", "code"}


def test_promise_39_a_long_id_is_a_404(fake_server: Running) -> None:
    for path in ("files", "responses", "videos", "models", "images/content"):
        reply = send(fake_server.port, f"GET /v1/{path}/{'x' * 10_000} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert reply.status == 404, path


def test_promise_40_folders_that_a_cleaner_removed_come_back(tmp_path: Path) -> None:
    with serving(tmp_path) as running, running.sdk() as client:
        for folder in ("uploads", "files", "artifacts", "videos"):
            shutil.rmtree(tmp_path / "data" / folder)
        assert client.files.create(file=("a.png", b"x"), purpose="vision").bytes == 1
        made = client.images.generate(model="fake-image", prompt="a fox", response_format="url").data
        assert made
        assert httpx.get(made[0].url or "").status_code == 200


def test_promise_25_an_image_url_opens_with_its_own_key_only(keyed_server: Running) -> None:
    one, other = SERVER_KEYS
    with keyed_server.sdk(key=one) as client:
        made = client.images.generate(model="fake-image", prompt="a fox", response_format="url").data
    assert made
    statuses = [
        httpx.get(made[0].url or "", headers={"Authorization": f"Bearer {key}"}).status_code for key in (one, other)
    ]
    assert statuses == [200, 404]


@pytest.mark.slow
def test_promise_44_a_stop_waits_for_background_responses(tmp_path: Path) -> None:
    with serving(tmp_path, MUYBRIDGE_DRAIN_S="20") as running:
        with running.sdk() as client:
            made = client.responses.create(
                model="fake-text", input="[delay_ms=300] a b c d e f g h", background=True, store=True
            )
        running.process.terminate()
        running.process.wait(30)
    with serving(tmp_path) as running, running.sdk() as client:
        assert client.responses.retrieve(made.id).status == "completed"


@pytest.mark.slow
def test_promise_41_servers_start_on_one_directory_at_the_same_time(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def start(index: int) -> None:
        try:
            folder = {"MUYBRIDGE_DATA_DIR": str(tmp_path / "data")}
            with serving(tmp_path / str(index), **folder) as running, running.sdk() as client:
                client.files.create(file=("a.png", b"x"), purpose="vision")
                client.responses.create(model="fake-text", input="hi", store=True)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_overload_logs_a_line_and_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adapters.errors import ModelBusy
    from server.http import errors

    logged: list[dict[str, object]] = []
    monkeypatch.setattr(errors.log, "error", lambda event, **fields: logged.append(fields), raising=False)
    errors.to_wire_error(ModelBusy("full"))
    errors.to_wire_error(RuntimeError("a bug"))
    assert [fields["exc_info"] is not None for fields in logged] == [False, True]
