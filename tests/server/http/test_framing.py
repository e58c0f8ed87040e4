"""HTTP/1 as clients really send it: offers of other protocols, trailers, HTTP/1.0, what follows a request."""

import asyncio
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from support.raw import JSON, Reply, send
from support.servers import Running, serving

from server.http.framing import MAX_FRAMING_BYTES

PATH = "/v1/chat/completions"
CHAT = b'{"model": "fake-text", "messages": [{"role": "user", "content": "hello"}]}'
STREAM = b'{"model": "fake-text", "stream": true, "messages": [{"role": "user", "content": "hello there"}]}'
H2C = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)


def head(*lines: str, first: str = f"POST {PATH} HTTP/1.1") -> bytes:
    return "\r\n".join([first, "Host: 127.0.0.1", *lines, "", ""]).encode()


def chunked(body: bytes, *, trailers: bytes = b"", extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n0\r\n%b\r\n" % (len(body), extension, body, trailers)


def exchange(port: int, *pieces: bytes, pause_s: float = 0.05) -> bytes:
    """Sends the pieces one after the other; returns all that comes until the server closes or is silent for 2 s."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        try:
            while data := connection.recv(65536):
                received += data
        except TimeoutError:
            pass
    return received


def answer(reply: Reply) -> str:
    assert reply.status == 200, reply.body
    return json.loads(reply.body)["choices"][0]["message"]["content"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "offer", [H2C, ("Connection: upgrade", "Upgrade: websocket"), ("Connection: Upgrade", "Upgrade: TLS/1.0")]
)
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_promise_35_an_offer_of_another_protocol_is_declined_and_the_body_read(
    fake_server: Running, offer: tuple[str, ...], framing: str
) -> None:
    length = f"Content-Length: {len(CHAT)}" if framing == "length" else "Transfer-Encoding: chunked"
    body = CHAT if framing == "length" else chunked(CHAT)
    request = head(JSON, length, *offer) + body
    assert answer(send(fake_server.port, request)) == "hello"
    for cut in (len(request) - len(body), len(request) - 5):  # the body in a packet of its own, and in two
        received = exchange(fake_server.port, request[:cut], request[cut:])
        assert received.startswith(b"HTTP/1.1 200 ")


def test_promise_35_a_connection_goes_on_after_an_offer(fake_server: Running) -> None:
    live = head(*H2C, first="GET /health/live HTTP/1.1")
    request = head(JSON, f"Content-Length: {len(CHAT)}", *H2C) + CHAT
    received = exchange(
        fake_server.port, live + request + live + head("Connection: close", first="GET /v1/models HTTP/1.1")
    )
    assert received.count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_promise_35_curl_that_offers_http_2_is_answered(fake_server: Running) -> None:
    command = ["curl", "--silent", "--http2", "--json", CHAT.decode(), fake_server.url + PATH]
    reply = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=20).stdout)
    assert reply["choices"][0]["message"]["content"] == "hello"


JAVA = """
import java.net.URI;
import java.net.http.*;

public class Probe {
    public static void main(String[] arguments) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(arguments[0]))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(arguments[1])).build();
        var reply = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(reply.statusCode() + " " + reply.body());
    }
}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK")
def test_promise_35_javas_http_client_is_answered(fake_server: Running, tmp_path: Path) -> None:
    (tmp_path / "Probe.java").write_text(JAVA)
    command = ["java", str(tmp_path / "Probe.java"), fake_server.url + PATH, CHAT.decode()]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    assert output.startswith("200 ")
    assert '"content":"hello"' in output


def test_promise_35_a_client_of_http_1_0_gets_no_chunks(fake_server: Running) -> None:
    request = head(JSON, f"Content-Length: {len(STREAM)}", first=f"POST {PATH} HTTP/1.0") + STREAM
    reply_head, _, body = exchange(fake_server.port, request).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in reply_head.lower()
    assert b"connection: close" in reply_head.lower()
    events = [line for line in body.decode().split("\n\n") if line]
    assert all(event.startswith("data: ") for event in events)
    assert events[-1] == "data: [DONE]"


def test_promise_35_a_sized_reply_to_http_1_0_keeps_its_length(fake_server: Running) -> None:
    reply = send(fake_server.port, head(first="GET /health/live HTTP/1.0"))
    assert (reply.status, reply.headers["content-length"]) == (200, str(len(reply.body)))


@pytest.mark.parametrize("version", ["2.0", "0.9", "1.2"])
def test_promise_35_other_versions_are_refused(fake_server: Running, version: str) -> None:
    received = exchange(fake_server.port, head(first=f"GET /health/live HTTP/{version}"))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"invalid_http"' in received


def test_promise_34_trailers_are_never_headers(tmp_path: Path) -> None:
    with serving(tmp_path, MUYBRIDGE_API_KEYS="sk-secret") as running:
        trailers = b"Authorization: Bearer sk-secret\r\n"
        request = head(JSON, "Transfer-Encoding: chunked") + chunked(CHAT, trailers=trailers)
        assert send(running.port, request).status == 401
        both = head(JSON, "Transfer-Encoding: chunked", "Authorization: Bearer sk-secret")
        assert answer(send(running.port, both + chunked(CHAT, trailers=b"X-Checksum: 1\r\n"))) == "hello"
        no_host = f"POST {PATH} HTTP/1.1\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        assert send(running.port, no_host + chunked(CHAT, trailers=b"Host: 127.0.0.1\r\n")).status in (400, 403)
        evil = both + chunked(CHAT, trailers=b"Host: evil.example\r\nOrigin: http://evil.example\r\n")
        assert answer(send(running.port, evil)) == "hello"
        assert send(running.port, both + chunked(CHAT, trailers=b"Content-Length: 4\r\n")).status == 400


@pytest.mark.parametrize("shape", ["many", "one value", "one name", "chunk extension"])
def test_promise_34_38_endless_trailers_are_cut_off_and_leave_nothing_behind(tmp_path: Path, shape: str) -> None:
    flood = {
        "many": b"X-Filler: 0123456789\r\n" * 3000,
        "one value": b"v" * 65536,
        "one name": b"n" * 65536,
        "chunk extension": b"e" * 65536,
    }[shape]
    begin = {"one value": b"2\r\n{}\r\n0\r\nX: ", "chunk extension": b"2;"}.get(shape, b"2\r\n{}\r\n0\r\n")
    with serving(tmp_path, MUYBRIDGE_API_KEYS="sk-secret") as running:
        process = psutil.Process(running.process.pid)
        send(running.port, head(first="GET /health/live HTTP/1.1"))
        before = process.memory_info().rss
        for _ in range(10):
            sent = 0
            with socket.create_connection(("127.0.0.1", running.port), timeout=5) as connection:
                try:
                    connection.sendall(head(JSON, "Transfer-Encoding: chunked") + begin)
                    while sent < 30 * 2**20:
                        connection.sendall(flood)
                        sent += len(flood)
                except OSError:
                    pass
            # What fits into the buffers of both sockets is sent before the refusal is noticed.
            assert sent < 12 * 2**20
        asked = time.perf_counter()
        assert send(running.port, head(first="GET /health/live HTTP/1.1")).status == 200
        assert time.perf_counter() - asked < 0.5
        assert process.memory_info().rss - before < 24 * 2**20


def test_promise_34_a_large_head_and_a_late_body_are_no_flood(fake_server: Running) -> None:
    large = head(JSON, f"Content-Length: {len(CHAT)}", "X-Large: " + "x" * (2 * MAX_FRAMING_BYTES))
    assert exchange(fake_server.port, large, CHAT, pause_s=0.3).startswith(b"HTTP/1.1 200 ")


def test_promise_34_a_body_of_tiny_chunks_is_read(fake_server: Running) -> None:
    pieces = b"".join(b"1;note=%b\r\n%c\r\n" % (b"x" * 200, byte) for byte in CHAT)
    assert answer(send(fake_server.port, head(JSON, "Transfer-Encoding: chunked") + pieces + b"0\r\n\r\n")) == "hello"


@pytest.mark.parametrize("behind", [b"NONSENSE\r\n\r\n", b"GET /health/live HT"])
def test_promise_9_what_is_pipelined_behind_a_stream_does_not_break_into_it(
    fake_server: Running, behind: bytes
) -> None:
    slow = STREAM.replace(b"hello there", b"[delay_ms=100] one two three four five")
    received = exchange(fake_server.port, head(JSON, f"Content-Length: {len(slow)}") + slow + behind, pause_s=1.5)
    stream, _, rest = received.partition(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert b"HTTP/1.1" not in stream[20:]
    assert stream.count(b"data: ") >= 5
    if behind.startswith(b"NONSENSE"):
        assert rest.startswith(b"HTTP/1.1 400 ")


async def test_promise_36_silent_sockets_of_an_address_give_way_to_new_ones(tmp_path: Path) -> None:
    from server.http.protocol import MAX_CONNECTIONS_PER_ADDRESS

    with serving(tmp_path) as running:
        silent = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(MAX_CONNECTIONS_PER_ADDRESS)]
        try:
            for _ in range(5):
                reply = await asyncio.to_thread(send, running.port, head(first="GET /health/live HTTP/1.1"))
                assert reply.status == 200
        finally:
            for _, writer in silent:
                writer.close()


def test_promise_38_finished_requests_leave_no_garbage(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        process = psutil.Process(running.process.pid)
        request = head("Connection: close", "X-Large: " + "x" * 60_000, first="GET /nothing HTTP/1.1")
        for _ in range(100):
            send(running.port, request)
        before = process.memory_info().rss
        for _ in range(1000):
            assert send(running.port, request).status == 404
        assert process.memory_info().rss - before < 16 * 2**20
