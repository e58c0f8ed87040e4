"""What clients of other languages and tools send, and mean as everybody else does."""

import io
import wave

import httpx
import pytest
from support.raw import JSON, post, send
from support.servers import Running

CHAT = "/v1/chat/completions"
BODY = b'{"model":"fake-text","messages":[{"role":"user","content":"hi"}]}'


def silence() -> bytes:
    """A WAV file of a second."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))
    return out.getvalue()


def test_a_byte_order_mark_before_json_is_ignored(fake_server: Running) -> None:
    """.NET and PowerShell write it."""
    assert post(fake_server.port, CHAT, b"\xef\xbb\xbf" + BODY, JSON).status == 200
    assert post(fake_server.port, CHAT, b"\xef\xbb\xbf\xef\xbb\xbf" + BODY, JSON).status == 400


@pytest.mark.parametrize("path", ["/v1/files", "/v1/videos"])
def test_an_empty_parameter_of_a_query_is_absent(fake_server: Running, path: str) -> None:
    for query in ("limit=", "limit=&order=&after=", "order=desc&limit=", "after=&limit=5&order="):
        assert httpx.get(f"{fake_server.url}{path}?{query}").status_code == 200, query
    assert httpx.get(f"{fake_server.url}{path}?limit=x&order=").status_code == 400
    assert httpx.get(f"{fake_server.url}{path}?after=abc=").status_code == 404


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_checks_of_load_balancers(fake_server: Running, path: str) -> None:
    """HEAD, and HTTP/1.0 without a Host header, as HAProxy and uptime monitors send them."""
    assert httpx.head(f"{fake_server.url}{path}").status_code == 200
    assert send(fake_server.port, f"GET {path} HTTP/1.0\r\n\r\n".encode()).status == 200
    assert send(fake_server.port, f"GET {path} HTTP/1.0\r\nOrigin: http://evil.example\r\n\r\n".encode()).status == 400


def test_promise_26_only_health_checks_may_lack_a_host(fake_server: Running) -> None:
    assert send(fake_server.port, b"GET /v1/models HTTP/1.0\r\n\r\n").status == 400
    assert send(fake_server.port, b"GET /health HTTP/1.1\r\n\r\n").status == 400
    assert send(fake_server.port, b"GET /health HTTP/1.0\r\nHost: evil.example\r\n\r\n").status == 403


@pytest.mark.parametrize("media_type", ["audio/wav", "audio/x-wav", "video/webm"])
def test_a_part_of_a_media_type_is_a_file_without_a_name_too(fake_server: Running, media_type: str) -> None:
    head = f'Content-Disposition: form-data; name="file"\r\nContent-Type: {media_type}\r\n\r\n'
    form = b"--B\r\n" + head.encode() + silence() + b"\r\n--B\r\n"
    form += b'Content-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--B--\r\n'
    reply = post(fake_server.port, "/v1/audio/transcriptions", form, "Content-Type: multipart/form-data; boundary=B")
    assert reply.status == 200, reply


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("guided_json", {"type": "object"}),
        ("guided_regex", "a+"),
        ("structured_outputs", {"regex": "a+"}),
        ("chat_template", "{{ messages }}"),
        ("allowed_token_ids", [1]),
        ("bad_words", ["x"]),
        ("truncate_prompt_tokens", 5),
        ("use_beam_search", True),
    ],
)
def test_what_changes_the_answer_is_refused_where_it_is_not_served(
    fake_server: Running, field: str, value: object
) -> None:
    messages = [{"role": "user", "content": "hi"}]
    url = f"{fake_server.url}{CHAT}"
    refused = httpx.post(url, json={"model": "fake-text", "messages": messages, field: value})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)
    for absent in (None, False):  # as clients send what they do not use
        assert httpx.post(url, json={"model": "fake-text", "messages": messages, field: absent}).status_code == 200


def test_modalities_that_are_not_served_are_named(fake_server: Running) -> None:
    body = {"model": "fake-text", "messages": [{"role": "user", "content": "hi"}], "modalities": ["text", "audio"]}
    error = httpx.post(f"{fake_server.url}{CHAT}", json=body).json()["error"]
    assert error["param"] == "modalities[1]"
    assert error["message"] == "Invalid 'modalities[1]': must be 'text'."
