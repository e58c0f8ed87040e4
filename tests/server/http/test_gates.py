"""Who may reach the server: keys, hosts, origins."""

from pathlib import Path

import httpx
import openai
import pytest
from support.raw import JSON, post, send
from support.servers import SERVER_KEYS, Running, muybridge

from server.app import ROUTES

KEY, OTHER = SERVER_KEYS


@pytest.fixture(scope="module")
def locked(keyed_server: Running) -> Running:
    return keyed_server


def all_paths() -> list[tuple[str, str]]:
    return sorted(
        (method, path.replace("{video_id:str}", "v").replace("{model:path}", "m").replace("{name:str}", "n"))
        for handler in ROUTES
        for path in handler.paths
        for method in getattr(handler, "http_methods", ("GET", "POST"))  # a bare handler takes them all
        if method != "OPTIONS"
    )


@pytest.mark.parametrize(("method", "path"), all_paths())
def test_promise_24_every_route_needs_a_key_but_health(locked: Running, method: str, path: str) -> None:
    reply = httpx.request(method, locked.url + path)
    assert reply.status_code == (200 if path.startswith("/health") else 401)


@pytest.mark.parametrize(
    "path",
    ["/", "/docs", "/schema", "/v1", "/nothing", "/health/live/", "/health/live/../../v1/models", "/health/%6cive",
     "//v1/models", "/v1/models/../../health/live", "/health/live;x", "/%2e%2e/v1/models"],
)  # fmt: skip
def test_promise_24_what_is_no_route_needs_a_key_too(locked: Running, path: str) -> None:
    reply = send(locked.port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert reply.status == 401, path
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    ["Authorization: Bearer ", "Authorization: Bearer wrong", f"Authorization: Basic {KEY}", f"Authorization: {KEY}",
     f"Authorization: Bearer {KEY}\r\nAuthorization: Bearer wrong", f"Authorization: Bearer {KEY[:-1]}",
     f"X-Api-Key: {KEY}"],
)  # fmt: skip
def test_promise_24_a_wrong_key_is_a_401(locked: Running, header: str) -> None:
    reply = send(locked.port, f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode())
    assert (reply.status, reply.error["type"]) == (401, "authentication_error")


def test_promise_24_both_keys_open(locked: Running) -> None:
    for key in (KEY, OTHER):
        with locked.sdk(key=key) as sdk:
            assert sdk.models.list().data
    with locked.sdk(key="wrong") as sdk, pytest.raises(openai.AuthenticationError):
        sdk.models.list()


def test_promise_24_a_public_bind_without_a_key_refuses_to_start(tmp_path: Path) -> None:
    result = muybridge("serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path))
    assert result.returncode == 2
    assert "api_keys" in result.stderr
    assert "Traceback" not in result.stderr


def test_promise_25_another_keys_video_is_a_404(locked: Running) -> None:
    with locked.sdk(key=KEY, strict=False) as mine, locked.sdk(key=OTHER, strict=False) as theirs:
        video = mine.videos.create(model="fake-video", prompt="mine")
        assert [one.id for one in mine.videos.list()] == [video.id]
        assert list(theirs.videos.list()) == []
        for attempt in (theirs.videos.retrieve, theirs.videos.delete, theirs.videos.download_content):
            with pytest.raises(openai.NotFoundError):
                attempt(video.id)
        assert mine.videos.retrieve(video.id).id == video.id


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.nip.example", 403),
        ("192.168.0.7", 403),
        ("", 400),
        ("localhost:80:80", 400),
        ("user@localhost", 400),
        ("localhost/x", 400),
        ("local host", 400),
    ],
)
def test_promise_26_only_our_own_host_names_are_served(fake_server: Running, host: str, status: int) -> None:
    reply = send(fake_server.port, f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert reply.status == status, reply


def test_promise_26_exactly_one_host(fake_server: Running) -> None:
    for hosts in ("", "Host: localhost\r\nHost: localhost\r\n", "Host: localhost\r\nHost: evil.example\r\n"):
        reply = send(fake_server.port, f"GET /v1/models HTTP/1.1\r\n{hosts}\r\n".encode())
        assert reply.status == 400


@pytest.mark.parametrize(
    "header",
    ["Origin: https://evil.example", "Origin: null", "Origin: http://localhost.evil.example",
     "Origin: http://127.0.0.1:1", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"],
)  # fmt: skip
def test_promise_26_pages_of_other_sites_are_refused(fake_server: Running, header: str) -> None:
    body = b'{"model":"fake-text","messages":[{"role":"user","content":"hi"}]}'
    reply = post(fake_server.port, "/v1/chat/completions", body, JSON, header)
    assert (reply.status, reply.error["code"]) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in reply.headers


def test_promise_26_our_own_pages_and_programs_are_served(fake_server: Running) -> None:
    body = b'{"model":"fake-text","messages":[{"role":"user","content":"hi"}]}'
    own = f"127.0.0.1:{fake_server.port}"
    for headers in ([f"Origin: http://{own}"], ["Sec-Fetch-Site: same-origin"], ["Sec-Fetch-Site: none"], []):
        assert post(fake_server.port, "/v1/chat/completions", body, JSON, *headers, host=own).status == 200


def test_promise_27_no_key_and_no_prompt_is_logged(locked: Running) -> None:
    with locked.sdk(key=KEY) as sdk:
        sdk.chat.completions.create(model="fake-text", messages=[{"role": "user", "content": "canary-prompt"}])
        for text in ("canary-prompt [fail_after=0]", "canary-prompt [delay_ms=9"):
            with pytest.raises(openai.APIError):
                sdk.chat.completions.create(
                    model="fake-text" if "fail" in text else "canary\x1b[31m\nmodel",
                    messages=[{"role": "user", "content": text}],
                )
    log = locked.log.read_text()
    assert "generation_failed" in log
    for secret in (KEY, OTHER, "canary-prompt", "canary\x1b", "\nmodel"):
        assert secret not in log
