"""Promise 22: images from the web, and all that a URL must not make this server do."""

import asyncio
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from support.servers import Running, serving

from adapters.base import Media
from adapters.fake.images import png
from compat.errors import RequestError
from server.outbound import image_fetcher
from server.outbound.image_fetcher import MAX_REDIRECTS, ImageFetcher
from server.outbound.public_address import is_public

PICTURE = png(16, 16, (1, 2, 3))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(PICTURE) + PICTURE


class Web:
    """A server on loopback that answers as it is told and keeps what it was asked."""

    def __init__(self) -> None:
        self.replies: dict[bytes, bytes] = {}
        self.asked: list[bytes] = []
        self.drip_s = 0.0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(request)
        reply = self.replies.get(request.split()[1], b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        try:
            if self.drip_s:
                for byte in reply:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(self.drip_s)
            writer.write(reply)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def url(self, path: str = "/x.png") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    web = Web()
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0)
    web.port = server.sockets[0].getsockname()[1]
    web.replies[b"/x.png"] = WHOLE
    async with server:
        yield web


def near(**options: Any) -> ImageFetcher:
    """A fetcher that may call this machine."""
    return ImageFetcher(allowed=lambda _: True, any_port=True, **options)


async def refused(fetcher: ImageFetcher, url: str) -> str:
    with pytest.raises(RequestError) as caught:
        await fetcher.fetch(url, param="image")
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "image", "image_fetch")
    return caught.value.message


async def test_an_image_is_fetched_undecoded(web: Web) -> None:
    assert await near().fetch(web.url(), param="image") == Media("image/png", PICTURE)
    (request,) = web.asked
    assert request.startswith(b"GET /x.png HTTP/1.1\r\n")
    assert b"Accept-Encoding: identity" in request
    assert b"Cookie" not in request
    assert b"Authorization" not in request


async def test_chunked_and_open_ended_bodies_are_read(web: Web) -> None:
    web.replies[b"/chunked"] = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
        len(PICTURE),
        PICTURE,
    )
    web.replies[b"/open"] = HEAD + b"Connection: close\r\n\r\n" + PICTURE
    for path in ("/chunked", "/open"):
        assert (await near().fetch(web.url(path), param="image")).data == PICTURE


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x.png", "http://localhost/x.png", "http://[::1]/x.png", "http://0.0.0.0/x.png",
        "http://[::ffff:127.0.0.1]/x.png", "http://[::ffff:7f00:1]/x.png", "http://2130706433/x.png",
        "http://0x7f000001/x.png", "http://0177.0.0.1/x.png", "http://127.1/x.png", "http://10.0.0.1/x.png",
        "http://192.168.1.1/x.png", "http://172.16.0.1/x.png", "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/x.png", "http://[fe80::1]/x.png", "http://[fc00::1]/x.png", "http://[fec0::1]/x.png",
        "http://[64:ff9b::7f00:1]/x.png", "http://[2002:7f00:1::]/x.png", "http://[2001:0:1::]/x.png",
        "http://224.0.0.1/x.png", "http://255.255.255.255/x.png", "http://[::]/x.png", "http://[ff02::1]/x.png",
    ],
)  # fmt: skip
async def test_promise_22_only_public_addresses_are_called(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connected(*_: Any, **__: Any) -> Any:
        raise AssertionError("it called out")

    monkeypatch.setattr(asyncio, "open_connection", connected)
    assert "No public server" in await refused(ImageFetcher(), url)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.com/x.png", "gopher://example.com/", "http://", "https:///x.png",
        "http://user:pass@example.com/x.png", "http://example.com:22/x.png", "https://example.com:80/x.png",
        "http://exa mple.com/", "http://example.com/\r\nHost: x", "http://example.com/\u00e9", "http://[::1/x",
        "http://example.com:99999/", "http://example.com/" + "x" * 3000, "//example.com/x.png",
    ],
)  # fmt: skip
async def test_promise_22_other_urls_are_refused_before_any_name_is_looked_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(*_: Any, **__: Any) -> Any:
        raise AssertionError("it looked a name up")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked)
    await refused(ImageFetcher(), url)


async def test_promise_22_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both(host: str, port: int, **_: Any) -> Any:
        return [(0, 0, 0, "", (address, port)) for address in ("8.8.8.8", "127.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    assert "No public server" in await refused(ImageFetcher(), "http://example.com/x.png")


async def test_promise_22_a_name_that_changes_its_address_is_called_at_the_first(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: whatever the name means at the second look, there is none."""
    looks: list[str] = []

    async def rebinding(host: str, port: int, **_: Any) -> Any:
        looks.append(host)
        return [(socket.AF_INET, 0, 0, "", ("127.0.0.1" if len(looks) == 1 else "127.0.0.2", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebinding)
    called: list[str] = []
    connect = asyncio.open_connection

    async def connecting(host: str, port: int, **options: Any) -> Any:
        called.append(host)
        monkeypatch.undo()
        return await connect(host, port, **options)

    monkeypatch.setattr(asyncio, "open_connection", connecting)
    await near().fetch(f"http://rebinding.example:{web.port}/x.png", param="image")
    assert (looks, called) == (["rebinding.example"], ["127.0.0.1"])
    assert f"Host: rebinding.example:{web.port}".encode() in web.asked[0]


def redirect(to: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("status", image_fetcher.REDIRECTS)
async def test_redirects_are_followed_a_few_times(web: Web, status: int) -> None:
    web.replies[b"/a"] = redirect("/x.png", status)
    assert (await near().fetch(web.url("/a"), param="image")).data == PICTURE
    web.replies[b"/loop"] = redirect("/loop", status)
    assert "redirects" in await refused(near(), web.url("/loop"))
    assert len(web.asked) == 2 + MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "to", ["http://169.254.169.254/", "http://[::ffff:10.0.0.1]/", "file:///etc/passwd", "gopher:x"]
)
async def test_promise_22_every_hop_is_looked_at(web: Web, to: str) -> None:
    web.replies[b"/a"] = redirect(to)
    here = ipaddress.ip_address("127.0.0.1")
    fetcher = ImageFetcher(allowed=lambda address: address == here or is_public(address), any_port=True)
    await refused(fetcher, web.url("/a"))
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx", "no image at"),
        (b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", "500"),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "compressed"),
        (HEAD + b"Content-Length: 1001\r\n\r\n", "1000 bytes"),
        (HEAD + b"\r\n" + b"x" * 1001, "1000 bytes"),
        (HEAD + b"Content-Length: 100\r\n\r\nx", "No public server"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "No public server"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "No public server"),
        (HEAD + b"Content-Length: -1\r\n\r\nx", "No public server"),
        (b"", "No public server"),
    ],
)
async def test_promise_22_what_is_no_image_or_too_large_is_refused(web: Web, reply: bytes, reason: str) -> None:
    web.replies[b"/a"] = reply
    assert reason in await refused(near(max_bytes=1000), web.url("/a"))


async def test_promise_22_a_slow_server_is_left_in_time(web: Web) -> None:
    web.drip_s = 0.05
    started = time.monotonic()
    await refused(near(timeout_s=0.5), web.url())
    assert time.monotonic() - started < 5


def chat(url: str) -> dict[str, Any]:
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]
    return {"model": "fake-vision", "messages": [{"role": "user", "content": content}]}


def respond(url: str) -> dict[str, Any]:
    return {"model": "fake-vision", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]}


def decide(url: str) -> dict[str, Any]:
    return {**respond(url), "questions": [{"type": "predicate", "instructions": "Is it red?"}]}


ROUTES: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
    ("chat/completions", chat),
    ("responses", respond),
    ("decisions", decide),
]


@pytest.mark.parametrize(("route", "body"), ROUTES)
def test_promise_22_urls_are_off_until_the_operator_allows_them(
    fake_server: Running, route: str, body: Callable[[str], dict[str, Any]]
) -> None:
    reply = httpx.post(f"{fake_server.url}/v1/{route}", json=body("https://example.com/x.png"))
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "remote_urls_off"), reply.text


@pytest.mark.slow
def test_promise_22_a_server_that_follows_urls_calls_no_private_address(tmp_path: Any) -> None:
    canary = socket.create_server(("127.0.0.1", 0))
    canary.settimeout(0.5)
    with serving(tmp_path, MUYBRIDGE_FETCH_IMAGES="true") as running:
        for route, body in ROUTES:
            for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
                for url in (f"http://{host}:{canary.getsockname()[1]}/x.png", f"http://{host}/x.png"):
                    reply = httpx.post(f"{running.url}/v1/{route}", json=body(url), timeout=30)
                    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "image_fetch"), reply.text
        many = [{"type": "input_image", "image_url": f"https://example.com/{n}.png"} for n in range(17)]
        question = {"type": "predicate", "instructions": "Is it red?"}
        body = {"model": "fake-vision", "input": [{"role": "user", "content": many}], "questions": [question]}
        reply = httpx.post(f"{running.url}/v1/decisions", json=body)
        assert reply.json()["error"]["param"] == "input[0].content[16].image_url"
    with pytest.raises(TimeoutError):
        canary.accept()
    canary.close()
