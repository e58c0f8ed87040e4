"""POST /v1/embeddings, through the strict SDK and by hand, on the fake."""

import asyncio
import base64
import math
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from support.servers import Running, serving


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def post(server: Running, change: dict[str, Any], **options: Any) -> httpx.Response:
    body = {"model": "fake-embedding", "input": "x", **change}
    return httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=60, **options)


@pytest.fixture(scope="module")
def lenient(fake_server: Running) -> Iterator[openai.OpenAI]:
    """The client that asks for base64 by default: its strict mode checks the reply before it decodes it, and fails."""
    with fake_server.sdk(strict=False) as sdk:
        yield sdk


def test_both_formats_hold_the_same_numbers(client: openai.OpenAI, lenient: openai.OpenAI) -> None:
    floats = client.embeddings.create(model="fake-embedding", input=["a horse", "a boat"], encoding_format="float")
    default = lenient.embeddings.create(model="fake-embedding", input=["a horse", "a boat"])
    assert floats.data == default.data
    assert [one.index for one in floats.data] == [0, 1]
    assert math.isclose(math.hypot(*floats.data[0].embedding), 1, rel_tol=1e-6)
    assert (floats.object, floats.data[0].object, floats.model) == ("list", "embedding", "fake-embedding")
    assert floats.usage.prompt_tokens == floats.usage.total_tokens == 4
    assert floats._request_id.startswith("req_")


def test_base64_is_float32_little_endian(fake_server: Running) -> None:
    raw = post(fake_server, {"encoding_format": "base64"}).json()["data"][0]["embedding"]
    listed = post(fake_server, {}).json()["data"][0]["embedding"]
    assert list(struct.unpack("<64f", base64.b64decode(raw))) == listed


def test_every_shape_of_input(client: openai.OpenAI) -> None:
    def embed(given: Any) -> list[list[float]]:
        reply = client.embeddings.create(model="fake-embedding", input=given, encoding_format="float")
        return [one.embedding for one in reply.data]

    assert embed("5 6") == embed(["5 6"]) == embed([5, 6]) == embed([[5, 6]])  # the fake's words are its tokens
    assert embed(["x", "5 6", "x"])[1] == embed("5 6")[0]
    assert len(embed([[5], [6, 7], [5]])) == 3


def test_fewer_dimensions_have_length_one_again(lenient: openai.OpenAI) -> None:
    whole = lenient.embeddings.create(model="fake-embedding", input="a horse").data[0].embedding
    cut = lenient.embeddings.create(model="fake-embedding", input="a horse", dimensions=16, user="u").data[0].embedding
    assert len(cut) == 16
    assert math.isclose(math.hypot(*cut), 1, rel_tol=1e-6)
    assert dot(whole[:16], cut) == pytest.approx(math.hypot(*whole[:16]))


def test_an_alias_reaches_the_model_and_other_kinds_are_refused(client: openai.OpenAI, lenient: openai.OpenAI) -> None:
    assert lenient.embeddings.create(model="text-embedding-3-small", input="x").model == "fake-embedding"
    with pytest.raises(openai.BadRequestError) as other:
        client.embeddings.create(model="fake-text", input="x")
    assert other.value.param == "model"
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="embedding-9", input="x")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": {"text": "x"}}, "input"),
        ({"input": 5}, "input"),
        ({"input": True}, "input"),
        ({"input": ["x", ""]}, "input[1]"),
        ({"input": ["x", 5]}, "input[1]"),
        ({"input": [5, "x"]}, "input[1]"),
        ({"input": [5, True]}, "input[1]"),
        ({"input": [True]}, "input[0]"),
        ({"input": [None, "x"]}, "input[0]"),
        ({"input": [1.0, 2.0]}, "input[0]"),
        ({"input": [5, 2.5]}, "input[1]"),
        ({"input": [-1]}, "input[0]"),
        ({"input": [5, -(2**62)]}, "input[1]"),
        ({"input": [2**31]}, "input[0]"),
        ({"input": [100_000]}, "input"),
        ({"input": [[5], []]}, "input[1]"),
        ({"input": [[5], [6, -7]]}, "input[1][1]"),
        ({"input": [[5], [6, "x"]]}, "input[1][1]"),
        ({"input": [[5], [[6]]]}, "input[1][0]"),
        ({"input": [[5], "x"]}, "input[1]"),
        ({"input": [["x"]]}, "input[0][0]"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": [[5]] * 10_000}, "input"),
        ({"input": [5] * 300_001}, "input"),
        ({"input": [[5] * 4000] * 76}, "input"),
        ({"input": [5] * 4097, "truncate": False}, "input"),
        ({"input": "x" * 10_000_000}, "input"),
        ({"input": ["x" * 1000] * 2001}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 65}, "dimensions"),
        ({"dimensions": 2**40}, "dimensions"),
        ({"dimensions": "16"}, "dimensions"),
        ({"dimensions": 16.0}, "dimensions"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"encoding_format": 1}, "encoding_format"),
        ({"model": 1}, "model"),
    ],
)
def test_promise_28_a_wrong_parameter_is_named(fake_server: Running, change: dict[str, Any], param: str) -> None:
    reply = post(fake_server, change)
    assert reply.status_code == 400, reply.text[:300]
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert len(reply.content) < 1000


def test_promise_28_ceilings_let_through_what_is_at_them(fake_server: Running) -> None:
    assert len(post(fake_server, {"input": ["x"] * 2048}).json()["data"]) == 2048
    assert post(fake_server, {"input": [99_999]}).status_code == 200
    assert post(fake_server, {"input": [5] * 4096}).json()["usage"]["total_tokens"] == 4096
    assert post(fake_server, {"input": "y" * 2_000_000}).status_code == 200
    assert post(fake_server, {"dimensions": 64}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "fake-embedding", "input": [NaN]}',
        b'{"model": "fake-embedding", "input": [Infinity]}',
        b'{"model": "fake-embedding", "input": [1e999]}',
        b'{"model": "fake-embedding", "input": [99999999999999999999]}',
        b'{"model": "fake-embedding", "input": [[' + b"9" * 5000 + b"]]}",
        b'{"model": "fake-embedding", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model": "fake-embedding", "input": "x", "input": ["y"',
    ],
)
def test_promise_8_what_is_no_text_and_no_id_is_400(fake_server: Running, body: bytes) -> None:
    reply = httpx.post(
        f"{fake_server.url}/v1/embeddings", content=body, headers={"content-type": "application/json"}, timeout=30
    )
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["code"] == "invalid_json"


@pytest.mark.slow
def test_promise_8_large_requests_do_not_hold_the_loop(fake_server: Running) -> None:
    """Other requests go on while the worst ones are parsed, refused, computed and rendered."""
    waits: list[float] = []
    over = threading.Event()

    def probe() -> None:
        with httpx.Client() as client:
            while not over.is_set():
                started = time.perf_counter()
                client.get(f"{fake_server.url}/health/live")
                waits.append(time.perf_counter() - started)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        worst: list[Any] = [["x"] * 2048, [[5] * 140] * 2048, [1.5] * 900_000, "x" * 10_000_000, [["a"] * 9] * 90_000]
        for given in worst:
            post(fake_server, {"input": given})
    finally:
        over.set()
        thread.join()
    assert sorted(waits)[len(waits) * 9 // 10] < 0.25, sorted(waits)[-10:]
    # On a busy machine one wait says little of the loop; a request that is parsed in it would hold it for seconds.
    assert max(waits) < 2.0, sorted(waits)[-10:]


def test_failures_reach_the_client(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as failed:
        client.embeddings.create(model="fake-embedding", input="[fail_after=0]")
    assert failed.value.code == "generation_failed"
    with pytest.raises(openai.BadRequestError, match=r"4096.*5000") as long:
        client.embeddings.create(model="fake-embedding", input=["x", "word " * 5000], extra_body={"truncate": "NONE"})
    assert (long.value.code, long.value.param) == ("context_length_exceeded", "input")


def test_promise_10_a_reply_nobody_waits_for_is_cancelled(fake_server: Running) -> None:
    body = {"model": "fake-embedding", "input": ["[delay_ms=1000]"] * 20}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{fake_server.url}/v1/embeddings", json=body, timeout=0.5)
    fake_server.wait_for_metric('muybridge_model_leases{model="fake-embedding"}', 0.0, timeout_s=5)


def test_tokens_are_counted(lenient: openai.OpenAI, fake_server: Running) -> None:
    line = 'muybridge_tokens_total{direction="read",model="fake-embedding"}'
    before = fake_server.metric(line)
    lenient.embeddings.create(model="fake-embedding", input=["one two", "three"])
    assert fake_server.metric(line) == before + 3


def test_the_fake_places_like_beside_like(fake_server: Running) -> None:
    data = post(fake_server, {"input": ["the same words", "the same words", "others"]}).json()["data"]
    same, again, other = (one["embedding"] for one in data)
    assert same == again
    assert dot(same, other) < 0.9


def test_ids_of_another_tokenizer_are_never_read_as_ids_of_the_model(tmp_path: Path) -> None:
    with serving(tmp_path, TIKTOKEN_CACHE_DIR=str(tmp_path)) as running:
        for model, status in (
            ("text-embedding-3-large", 400),
            ("text-embedding-3-small", 400),
            ("fake-embedding", 200),
        ):
            body = {"model": model, "input": [[5, 6], [7]]}
            reply = httpx.post(f"{running.url}/v1/embeddings", json=body)
            assert reply.status_code == status, reply.text
        for truncate, status in ((None, 200), (True, 200), ("START", 200), ("NONE", 400), (False, 400)):
            body = {"model": "text-embedding-3-small", "input": "word " * 5000, "truncate": truncate}
            reply = httpx.post(f"{running.url}/v1/embeddings", json=body)
            assert reply.status_code == status, reply.text


@pytest.mark.slow
async def test_hundreds_of_chunks_are_embedded_at_once(fake_server: Running) -> None:
    """Open WebUI sends every chunk of a document in a request of its own, all at once, and none of them again."""
    body = {"model": "text-embedding-3-small", "input": ["[delay_ms=1500] " + "x" * 900], "input_type": "passage"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=fake_server.url, limits=limits, timeout=60) as client:
        replies = await asyncio.gather(*(client.post("/v1/embeddings", json=body) for _ in range(500)))
    assert {reply.status_code for reply in replies} == {200}
