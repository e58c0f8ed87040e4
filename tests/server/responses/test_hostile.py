"""/v1/responses under bad input and a bad database: 4xx with the parameter's name, 503 with a way back, nothing lost."""

import json
import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import ResponseCreateParams  # noqa: F401 - what the table below was made from
from support.servers import Running, serving

from server.responses.service import INTERVAL_S

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def post(server: Running, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/responses", json={"model": "fake-text", "input": "x", **body}, timeout=60)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_tool_calls": 0}, "max_tool_calls"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: "x"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options"),
        ({"truncation": "some"}, "truncation"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": []}}}, "text.format.schema"),
        ({"tools": [{**TOOL, "name": "a b"}]}, "tools[0].name"),
        ({"tools": [{**TOOL, "parameters": "x"}]}, "tools[0].parameters"),
        ({"tools": [TOOL, TOOL]}, "tools[1].name"),
        ({"tools": [TOOL] * 513}, "tools"),
        ({"include": ["everything"]}, "include[0]"),
        ({"reasoning": {"effort": "immense"}}, "reasoning.effort"),
        ({"text": {"verbosity": "immense"}}, "text.verbosity"),
        ({"tools": [{"type": "new_tool"}]}, "tools[0].type"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"previous_response_id": "\0"}, "previous_response_id"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes", "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "g"}, "tools": [TOOL]}, "tool_choice.name"),
        ({"tool_choice": {"type": "mcp", "server_label": "x"}, "tools": [TOOL]}, "tool_choice.type"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}, "tools": [TOOL]}, "tool_choice.tools"),
        ({"previous_response_id": "resp_" + "0" * 30}, "previous_response_id"),
        ({"previous_response_id": "x' OR 1=1 --"}, "previous_response_id"),
        ({"previous_response_id": "x" * 257}, "previous_response_id"),
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"user": "x" * 513}, "user"),
    ],
)  # fmt: skip
def test_promise_28_what_cannot_be_honoured_is_named(
    fake_server: Running, change: dict[str, Any], param: str | None
) -> None:
    reply = post(fake_server, **change)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.slow
@pytest.mark.parametrize("response_id", ["x", "resp_", "resp_" + "g" * 30, "resp_" + "0" * 29, "..%2f..", "a" * 3000, "%F0%9F%98%80", "' OR 1=1 --"])  # fmt: skip
def test_promise_23_ids_that_cannot_be_are_404(fake_server: Running, response_id: str) -> None:
    url = f"{fake_server.url}/v1/responses/{response_id}"
    replies = [httpx.get(url), httpx.delete(url), httpx.post(f"{url}/cancel"), httpx.get(f"{url}/input_items")]
    replies.append(httpx.get(f"{url}?stream=true"))
    for reply in replies:
        assert reply.status_code == 404, reply.text
        assert reply.json()["error"]["type"] == "invalid_request_error"


def test_promise_8_large_inputs_end_quickly(fake_server: Running, client: openai.OpenAI) -> None:
    started = time.monotonic()
    for given in ("word " * 2_000_000, [{"role": "user", "content": "word " * 1000}] * 2000):
        reply = post(fake_server, input=given)  # 10 MB
        assert (
            (reply.status_code, reply.json()["error"]["param"]) == (400, "input")
            if isinstance(given, str)
            else reply.status_code == 200
        )
    for given in (
        [{"role": "user", "content": "x"}] * 10_000,
        [{}] * 10_000,
        [{"role": "user", "content": [{"type": "input_text", "text": "x"}] * 10_000}],
    ):
        assert post(fake_server, input=given).status_code == 400
    assert time.monotonic() - started < 30
    deep = '{"model": "fake-text", "input": ' + "[" * 100_000 + "]" * 100_000 + "}"
    reply = httpx.post(f"{fake_server.url}/v1/responses", content=deep, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert client.responses.create(model="fake-text", input="still here").output_text == "still here"


def test_unknown_models_and_models_of_another_kind(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="no-such-model", input="x")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as other:
        client.responses.create(model="fake-image", input="x")
    assert other.value.param == "model"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits")


@pytest.fixture(scope="module")
def limited(home: Path) -> Iterator[Running]:
    """A server that keeps little, and not for long."""
    limits = {"MUYBRIDGE_MAX_STORED_BYTES": "60000", "MUYBRIDGE_MAX_STORED_BYTES_PER_KEY": "40000"}
    with serving(home, MUYBRIDGE_API_KEYS="one,two,three", MUYBRIDGE_EXPIRE_RESPONSES_S="8", **limits) as running:
        yield running


def database_of(home: Path) -> sqlite3.Connection:
    return sqlite3.connect(home / "data" / "muybridge.sqlite", timeout=10)


def test_promise_4_nobody_fills_the_disk(limited: Running, home: Path) -> None:
    one, two, three = (limited.sdk(key=key) for key in ("one", "two", "three"))
    kept: list[str] = []

    def fill(sdk: openai.OpenAI) -> None:
        for _ in range(100):
            kept.append(sdk.responses.create(model="fake-text", input="y" * 5000).id)

    with pytest.raises(openai.RateLimitError) as own:
        fill(one)
    assert (own.value.code, own.value.param) == ("stored_responses_full", "store")
    assert own.value.response.headers["x-should-retry"] == "false"
    assert 2 <= len(kept) <= 6
    assert one.responses.create(model="fake-text", input="y" * 5000, store=False).output_text
    assert two.responses.create(model="fake-text", input="y" * 5000).output_text
    with pytest.raises(openai.InternalServerError) as everyone:
        fill(three)
    assert (everyone.value.status_code, everyone.value.code) == (503, "insufficient_storage")
    one.responses.delete(kept[0])  # makes room
    assert one.responses.create(model="fake-text", input="y" * 3000).output_text
    with closing(database_of(home)) as database:
        usage = database.execute("SELECT owner, size_bytes FROM response_bytes ORDER BY owner").fetchall()
        weighed = database.execute(
            "SELECT owner, sum(size_bytes) FROM responses GROUP BY owner ORDER BY owner"
        ).fetchall()
    assert usage == weighed


@pytest.mark.slow
def test_what_has_expired_is_gone_and_weighs_nothing(limited: Running, home: Path) -> None:
    deadline = time.monotonic() + 8 + INTERVAL_S + 20
    while True:
        with closing(database_of(home)) as database:
            rows = [
                database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("responses", "response_items")
            ]
            weight = database.execute("SELECT sum(size_bytes) FROM response_bytes").fetchone()[0]
        if rows == [0, 0]:
            break
        assert time.monotonic() < deadline, rows
        time.sleep(0.2)
    assert weight == 0


@pytest.mark.slow
def test_a_conversation_that_goes_on_keeps_its_beginning(limited: Running) -> None:
    sdk = limited.sdk(key="one")
    last = first = sdk.responses.create(model="fake-text", input="x")
    started = time.monotonic()
    while time.monotonic() - started < 8 + INTERVAL_S + 3:
        time.sleep(1.5)
        last = sdk.responses.create(model="fake-text", input="x", previous_response_id=last.id)
    assert sdk.responses.retrieve(first.id) == first


def test_a_chain_that_bites_its_tail_ends(fake_server: Running, client: openai.OpenAI) -> None:
    """No client can make one; a damaged database could hold one."""
    first = client.responses.create(model="fake-text", input="x")
    second = client.responses.create(model="fake-text", input="x", previous_response_id=first.id)
    with closing(database_of(fake_server.log.parent)) as database, database:
        database.execute("UPDATE responses SET previous_id = ? WHERE id = ?", (second.id, first.id))
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="fake-text", input="x", previous_response_id=second.id)
    assert refused.value.code == "conversation_too_long"


def test_promise_31_a_locked_database_is_a_503_and_what_is_unstored_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        sdk = running.sdk()
        before = sdk.responses.create(model="fake-text", input="before")
        with sdk.responses.create(model="fake-text", input="[delay_ms=200] a b c", stream=True) as stream:
            next(stream)
            with closing(database_of(tmp_path)) as database:
                database.execute("BEGIN IMMEDIATE")
                with pytest.raises(openai.InternalServerError) as busy:
                    sdk.responses.create(model="fake-text", input="x")
                assert (busy.value.status_code, busy.value.code) == (503, "database_busy")
                assert busy.value.response.headers["retry-after"]
                assert sdk.responses.create(model="fake-text", input="x", store=False).output_text == "x"
                assert sdk.responses.retrieve(before.id) == before
                database.rollback()
            final = list(stream)[-1]  # it has waited for its end to be stored
        assert final.type == "response.completed"
        assert sdk.responses.retrieve(final.response.id).output_text == "[delay_ms=200] a b c"


def test_promise_4_a_full_disk_is_a_503_and_nothing_is_lost(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        sdk = running.sdk()
        before = sdk.responses.create(model="fake-text", input="before")
        unlimited = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
        room = (tmp_path / "data" / "muybridge.sqlite-wal").stat().st_size + 4096
        stream = sdk.responses.create(model="fake-text", input="[delay_ms=200] " + "a " * 20, stream=True)
        next(stream)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (room, unlimited[1]))
        for _ in range(2):
            with pytest.raises(openai.InternalServerError) as full:
                sdk.responses.create(model="fake-text", input="y" * 100_000)
            assert (full.value.status_code, full.value.code) == (503, "insufficient_storage")
        assert sdk.responses.create(model="fake-text", input="x", store=False).output_text == "x"
        assert sdk.responses.retrieve(before.id) == before
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, unlimited)
        final = list(stream)[-1]
        assert final.type == "response.completed"
        assert sdk.responses.retrieve(final.response.id).output_text == final.response.output_text
        assert sdk.responses.create(model="fake-text", input="y" * 100_000).output_text


def test_promise_31_without_a_database_all_else_goes_on(tmp_path: Path) -> None:
    url = f"postgresql://nobody@/nothing?host={tmp_path}"
    with serving(tmp_path, MUYBRIDGE_DATABASE_URL=url) as running:
        sdk = running.sdk()
        assert sdk.chat.completions.create(model="fake-text", messages=[{"role": "user", "content": "x"}])
        assert sdk.responses.create(model="fake-text", input="x", store=False).output_text == "x"
        for call in (
            lambda: sdk.responses.create(model="fake-text", input="x"),
            lambda: sdk.responses.create(model="fake-text", input="x", stream=True),
            lambda: sdk.responses.create(model="fake-text", input="x", background=True),
            lambda: sdk.responses.retrieve("resp_" + "0" * 30),
            lambda: sdk.responses.delete("resp_" + "0" * 30),
        ):
            with pytest.raises(openai.InternalServerError) as gone:
                call()
            assert (gone.value.status_code, gone.value.code) == (503, "database_unavailable")
            assert set(json.loads(gone.value.response.text)["error"]) == {"message", "type", "param", "code"}


def test_promise_27_what_was_said_is_in_no_log(tmp_path: Path) -> None:
    with serving(tmp_path, MUYBRIDGE_LOG_LEVEL="debug") as running:
        sdk = running.sdk()
        sdk.responses.create(
            model="fake-text", input="canary-7f3a", instructions="canary-7f3a", metadata={"a": "canary-7f3a"}
        )
        list(sdk.responses.create(model="fake-text", input="canary-7f3a [fail_after=2]", stream=True))
        with closing(database_of(tmp_path)) as database:
            database.execute("DROP TABLE response_items")
            database.execute("CREATE TABLE response_items (number INTEGER)")
        with pytest.raises(openai.InternalServerError):
            sdk.responses.create(model="fake-text", input="canary-7f3a")
        time.sleep(0.2)
        assert "canary" not in running.log.read_text()
