"""Background responses: poll, follow, resume, cancel, delete; owners; what a killed server leaves behind."""

import signal
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from support import postgres
from support.servers import Running, serving

SLOW = "[delay_ms=100] [tokens=300]"
LEASES = 'muybridge_model_leases{model="fake-text"}'


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with two keys, on either database."""
    keys = {"MUYBRIDGE_API_KEYS": "one,two"}
    if request.param == "sqlite":
        with serving(tmp_path_factory.mktemp("background"), **keys) as running:
            yield running
        return
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with tempfile.TemporaryDirectory() as directory, postgres.postgres(Path(directory)) as database:
        home = tmp_path_factory.mktemp("background")
        with serving(home, MUYBRIDGE_DATABASE_URL=database.url, **keys) as running:
            yield running


@pytest.fixture(scope="module")
def one(server: Running) -> Iterator[openai.OpenAI]:
    with server.sdk(key="one") as sdk:
        yield sdk


def wait(client: openai.OpenAI, response_id: str, timeout_s: float = 30) -> Any:
    deadline = time.monotonic() + timeout_s
    while (found := client.responses.retrieve(response_id)).status in ("queued", "in_progress"):
        assert time.monotonic() < deadline, found.status
        time.sleep(0.05)
    return found


def begin(client: openai.OpenAI, said: str = SLOW, **fields: Any) -> str:
    return client.responses.create(model="fake-text", input=said, background=True, max_output_tokens=4000, **fields).id


@pytest.mark.slow
def test_it_is_queued_then_runs_then_is_done(one: openai.OpenAI) -> None:
    created = one.responses.create(model="fake-text", input="[delay_ms=100] b c d e f g h", background=True)
    assert (created.status, created.output, created.background) == ("queued", [], True)
    seen = {created.status}
    while (found := one.responses.retrieve(created.id)).status not in ("completed", "failed"):
        seen.add(found.status)
        time.sleep(0.02)
    assert seen == {"queued", "in_progress"}
    assert found.output_text == "[delay_ms=100] b c d e f g h"
    again = one.responses.create(model="fake-text", input="go on", previous_response_id=found.id)
    assert again.output_text == "go on"


def test_its_stream_is_taken_up_where_it_broke_off(one: openai.OpenAI) -> None:
    text = "[delay_ms=50] " + " ".join(f"w{number}" for number in range(30))
    stream = one.responses.create(model="fake-text", input=text, background=True, stream=True)
    seen = []
    for event in stream:
        seen.append(event)
        if len(seen) == 10:
            stream.close()
            break
    assert [event.type.removeprefix("response.") for event in seen[:5]] == [
        "created", "queued", "in_progress", "output_item.added", "content_part.added",
    ]  # fmt: skip
    response_id = seen[0].response.id
    running = list(one.responses.retrieve(response_id, stream=True, starting_after=9))  # the work has gone on
    assert [event.sequence_number for event in [*seen, *running]] == list(range(10 + len(running)))
    assert running[-1].type == "response.completed"
    assert "".join(event.delta for event in [*seen, *running] if event.type == "response.output_text.delta") == text
    done = list(one.responses.retrieve(response_id, stream=True))  # from the store, event by event the same
    assert done == [*seen, *running]
    with one.responses.stream(response_id=response_id, starting_after=20) as helper:
        assert next(iter(helper)).sequence_number == 21
        assert helper.get_final_response().output_text == text
    for after in (len(done) - 1, 10_000):
        with pytest.raises(openai.BadRequestError) as beyond:
            one.responses.retrieve(response_id, stream=True, starting_after=after)
        assert beyond.value.param == "starting_after"


def test_several_follow_one(one: openai.OpenAI) -> None:
    response_id = begin(one, "[delay_ms=30] " + "x " * 30)
    with ThreadPoolExecutor(5) as threads:
        streams = list(threads.map(lambda _: list(one.responses.retrieve(response_id, stream=True)), range(5)))
    assert all(stream == streams[0] for stream in streams)
    assert streams[0][-1].type == "response.completed"


def test_what_cannot_be_followed(one: openai.OpenAI, server: Running) -> None:
    foreground = one.responses.create(model="fake-text", input="x").id
    with pytest.raises(openai.BadRequestError) as refused:
        one.responses.retrieve(foreground, stream=True)
    assert refused.value.code == "response_not_background"
    with pytest.raises(openai.BadRequestError) as refused:
        one.responses.cancel(foreground)
    assert refused.value.code == "response_not_background"
    for query, param in (
        ("starting_after=3", "starting_after"),
        ("stream=true&starting_after=-1", "starting_after"),
        ("stream=true&starting_after=x", "starting_after"),
        ("stream=7", "stream"),
        ("include_obfuscation=true", "include_obfuscation"),
    ):
        reply = httpx.get(f"{server.url}/v1/responses/{foreground}?{query}", headers={"Authorization": "Bearer one"})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
    with pytest.raises(openai.BadRequestError) as unstored:
        one.responses.create(model="fake-text", input="x", background=True, store=False)
    assert unstored.value.param == "store"


def test_promise_5_cancelling_stops_the_model_within_a_second(one: openai.OpenAI, server: Running) -> None:
    response_id = begin(one)
    wait_for_lease(server)
    with ThreadPoolExecutor(1) as threads:
        following = threads.submit(lambda: list(one.responses.retrieve(response_id, stream=True)))
        time.sleep(0.3)
        started = time.monotonic()
        cancelled = one.responses.cancel(response_id)
        assert time.monotonic() - started < 2
        assert cancelled.status == "cancelled"
        assert lease(server) == 0.0
        last = following.result(10)[-1]
    assert (last.type, last.response.status) == ("response.failed", "cancelled")
    assert one.responses.cancel(response_id) == one.responses.retrieve(response_id)  # once is as good as twice
    assert [event.type for event in one.responses.retrieve(response_id, stream=True)][-1] == "response.failed"


def test_promise_5_deleting_stops_it_and_nothing_is_left(one: openai.OpenAI, server: Running) -> None:
    response_id = begin(one)
    wait_for_lease(server)
    one.responses.delete(response_id)
    assert lease(server) == 0.0
    for look in (one.responses.retrieve, one.responses.delete, one.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            look(response_id)


def test_cancelling_at_any_moment_leaves_an_end(one: openai.OpenAI) -> None:
    for wait_ms in (0, 1, 3, 10, 30, 60):
        response_id = begin(one, "[delay_ms=10] a b c")
        time.sleep(wait_ms / 1000)
        ended = one.responses.cancel(response_id)
        assert ended.status in ("cancelled", "completed")
        assert one.responses.retrieve(response_id).status == ended.status


def test_a_failure_is_a_state_and_not_an_error(one: openai.OpenAI) -> None:
    failed = wait(one, begin(one, "[fail_after=2] a b c"))
    assert (failed.status, failed.error.code, failed.error.message) == (
        "failed",
        "server_error",
        "The model was told to fail.",
    )
    failed = wait(one, begin(one, "word " * 5000))
    assert (failed.status, failed.error.code, failed.error.model_extra or failed.error.param) == (
        "failed",
        "invalid_prompt",
        "input",
    )


def test_promise_25_anothers_response_is_nowhere(one: openai.OpenAI, server: Running) -> None:
    item = {"role": "user", "content": "mine", "id": "msg_mine"}
    mine = one.responses.create(model="fake-text", input=[item])
    running = begin(one)
    two = server.sdk(key="two")
    for response_id in (mine.id, running):
        for look in (
            two.responses.retrieve,
            two.responses.delete,
            two.responses.cancel,
            two.responses.input_items.list,
        ):
            with pytest.raises(openai.NotFoundError) as hidden:
                look(response_id)
            assert hidden.value.code == "response_not_found"
        with pytest.raises(openai.NotFoundError):
            two.responses.retrieve(response_id, stream=True)
        with pytest.raises(openai.BadRequestError) as unknown:
            two.responses.create(model="fake-text", input="x", previous_response_id=response_id)
        assert unknown.value.code == "previous_response_not_found"
    for stolen in ("msg_mine", mine.output[0].id):
        with pytest.raises(openai.NotFoundError):
            two.responses.create(model="fake-text", input=[{"type": "item_reference", "id": stolen}])
    assert one.responses.cancel(running).status == "cancelled"
    assert one.responses.retrieve(mine.id) == mine


@pytest.mark.slow
def test_promise_11_too_many_at_once_are_a_503(tmp_path: Path) -> None:
    with serving(tmp_path, MUYBRIDGE_MAX_BACKGROUND_RESPONSES="2") as running:
        sdk = running.sdk()
        ids = [begin(sdk) for _ in range(2)]
        with pytest.raises(openai.InternalServerError) as full:
            begin(sdk)
        assert (full.value.status_code, full.value.code) == (503, "queue_full")
        assert full.value.response.headers["retry-after"]
        sdk.responses.cancel(ids[0])
        assert sdk.responses.cancel(begin(sdk)).status == "cancelled"
    with serving(tmp_path) as running:  # SIGTERM: what still ran has an end
        kept = running.sdk().responses.retrieve(ids[1])
        assert (kept.status, kept.error.code) == ("failed", "server_error")
        assert kept.output_text.startswith(" word0")
        assert [event.type for event in running.sdk().responses.retrieve(ids[1], stream=True)][-1] == "response.failed"


@pytest.mark.slow
def test_two_servers_share_one_database(tmp_path: Path) -> None:
    shared = {"MUYBRIDGE_DATABASE_URL": f"sqlite:///{tmp_path / 'shared.sqlite'}"}
    with serving(tmp_path / "a", **shared) as first, serving(tmp_path / "b", **shared) as second:
        here, there = first.sdk(), second.sdk()
        done = here.responses.create(model="fake-text", input="x")
        assert there.responses.retrieve(done.id) == done
        assert there.responses.create(model="fake-text", input="y", previous_response_id=done.id).output_text == "y"
        running = begin(here, "[delay_ms=50] " + "x " * 40)
        events = list(there.responses.retrieve(running, stream=True))  # waits for the end, then has all of it
        assert events == list(here.responses.retrieve(running, stream=True))
        assert events[-1].type == "response.completed"
        cancelled = begin(here)
        first.wait_for_metric(LEASES, 1.0, 10)
        assert there.responses.cancel(cancelled).status == "cancelled"
        first.wait_for_metric(LEASES, 0.0, 10)
        time.sleep(0.5)
        assert here.responses.retrieve(cancelled).status == there.responses.retrieve(cancelled).status == "cancelled"
        deleted = begin(here)
        first.wait_for_metric(LEASES, 1.0, 10)
        there.responses.delete(deleted)
        first.wait_for_metric(LEASES, 0.0, 10)
        time.sleep(0.5)
        with pytest.raises(openai.NotFoundError):
            here.responses.retrieve(deleted)
        orphan = begin(here)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        assert wait(there, orphan, 40).status == "failed"


@pytest.mark.slow
def test_promise_2_a_killed_servers_responses_fail_and_the_others_stay(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        sdk = running.sdk()
        done = sdk.responses.create(model="fake-text", input="kept")
        stream = sdk.responses.create(
            model="fake-text", input=SLOW, background=True, stream=True, max_output_tokens=4000
        )
        first = [next(stream) for _ in range(6)]
        foreground = sdk.responses.create(model="fake-text", input=SLOW, stream=True, max_output_tokens=4000)
        unfinished = [first[0].response.id, next(foreground).response.id]
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        with pytest.raises(openai.APIConnectionError):
            list(stream)
    with serving(tmp_path) as running:
        sdk = running.sdk()
        assert sdk.responses.retrieve(done.id) == done
        for response_id in unfinished:
            kept = wait(sdk, response_id, 40)
            assert (kept.status, kept.error.code) == ("failed", "server_error")
        resumed = list(sdk.responses.retrieve(unfinished[0], stream=True, starting_after=5))
        assert [(event.type, event.sequence_number) for event in resumed] == [("response.failed", 6)]
        whole = [event.type for event in sdk.responses.retrieve(unfinished[0], stream=True)]
        assert whole == ["response.created", "response.failed"]
        again = sdk.responses.create(model="fake-text", input="on", previous_response_id=done.id)
        assert again.output_text == "on"


@pytest.mark.long
def test_promise_2_killed_at_any_moment_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for round_ in range(3):
        with serving(tmp_path) as running:
            sdk = running.sdk()

            def hurry(sdk: openai.OpenAI = sdk) -> None:
                while True:
                    try:
                        acknowledged.append(sdk.responses.create(model="fake-text", input="x").id)
                    except openai.APIConnectionError:
                        return

            with ThreadPoolExecutor(4) as threads:
                for _ in range(4):
                    threads.submit(hurry)
                time.sleep(0.5 + round_ * 0.13)
                running.process.send_signal(signal.SIGKILL)
                running.process.wait()
    assert len(acknowledged) > 10
    with serving(tmp_path) as running:
        sdk = running.sdk()
        for response_id in acknowledged:
            assert sdk.responses.retrieve(response_id).status == "completed"
    with closing(sqlite3.connect(tmp_path / "data" / "muybridge.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def lease(server: Running) -> float:
    metrics = httpx.get(f"{server.url}/metrics", headers={"Authorization": "Bearer one"}).text
    return next(float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(LEASES))


def wait_for_lease(server: Running) -> None:
    deadline = time.monotonic() + 10
    while lease(server) == 0.0:
        assert time.monotonic() < deadline
        time.sleep(0.02)
