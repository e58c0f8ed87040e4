"""Rows of stored responses, on both databases: what the routes' tests cannot provoke."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from support import postgres

from adapters.base import TextDelta, TextDone, Usage
from compat.errors import RequestError
from compat.responses import request as responses
from compat.responses.reply import Response
from compat.responses.stream import ResponseWriter
from server.responses import persistence
from server.responses.items import MAX_TURNS, ResponseItems
from server.responses.persistence import ResponsePersistence
from server.responses.runs import Draft
from server.responses.store import ResponseStore
from server.responses.tables import items, usage
from server.storage.database import Database, default_url


@pytest.fixture(scope="module")
def postgresql() -> Iterator[postgres.Postgres]:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with tempfile.TemporaryDirectory() as directory, postgres.postgres(Path(directory)) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = default_url(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgresql").url
    opened = Database(url)
    yield opened
    await opened.aclose()


def store_of(database: Database, **limits: float) -> ResponseStore:
    return ResponseStore(database, **{"expire_s": 1e6, "max_bytes": 2**40, "max_owner_bytes": 2**40, **limits})  # pyright: ignore


def call_of(**fields: Any) -> responses.ResponseCall:
    return responses.parse({"model": "m", "input": "x", **fields})


def written(call: responses.ResponseCall, text: str = "said") -> tuple[Response, ResponseWriter]:
    response = responses.begin(call, "m")
    writer = ResponseWriter(response, streams=True)
    for event in (TextDelta(text), TextDone(Usage(), 0.0)):
        writer.add(event)
    return response, writer


async def kept(store: ResponseStore, owner: str, previous: str | None = None, chain: list[str] | None = None) -> str:
    call = call_of(previous_response_id=previous) if previous else call_of()
    response = responses.begin(call, "m")
    await store.insert(owner, response, call.items, chain or [], time.time() + 15)
    done, _ = written(call)
    done.id = response.id
    await store.finish(owner, done)
    return response.id


async def weights(database: Database) -> dict[str, int]:
    async with database.reading() as connection:
        return {row.owner: row.size_bytes for row in await connection.execute(select(usage))}


@pytest.mark.slow
async def test_an_end_whose_acknowledgement_was_lost_is_stored_once(database: Database) -> None:
    store, call = store_of(database), call_of()
    response, writer = written(call)
    for status in ("completed", "failed"):
        response = responses.begin(call, "m")
        response.output = writer.response.output
        await store.insert("again", response, call.items, [], time.time() + 15)
        response.status = status  # pyright: ignore
        await store.finish("again", response)
        await store.finish("again", response, again=True)
        stored = await store.get("again", response.id)
        assert stored is not None
        assert [item["content"][0]["text"] for item in stored.body["output"]] == ["said"]


async def test_what_was_deleted_or_cancelled_meanwhile_stays_so(database: Database) -> None:
    store, call = store_of(database), call_of()
    for ending in ("deleted", "cancelled"):
        response, _ = written(call)
        response.status = "in_progress"
        await store.insert("gone", response, call.items, [], time.time() + 15)
        stored = await store.get("gone", response.id)
        assert stored is not None
        if ending == "deleted":
            assert await store.delete("gone", response.id)
        else:
            assert await store.end("gone", stored, "cancelled", None)
            assert not await store.end("gone", stored, "failed", None)
        assert await store.renew([response.id], time.time() + 15) == set()
        response.status = "completed"
        await store.finish("gone", response)
        found = await store.get("gone", response.id)
        assert (found.status if found else "deleted") == ending
        assert found is None or found.body["output"] == []
    async with database.reading() as connection:
        left = (await connection.execute(select(items.c.item_id).where(items.c.owner == "gone"))).all()
    assert len(left) == 1  # the input of the one that was cancelled


async def test_one_that_was_given_up_for_dead_and_was_not_is_healed(database: Database) -> None:
    store, call = store_of(database), call_of()
    service = ResponsePersistence(store)
    response, _ = written(call)
    response.status = "in_progress"
    await store.insert("dead", response, call.items, [], time.time() - 1)
    assert ("dead", response.id) in await store.abandoned()
    assert (await service.get("dead", response.id)).status == "failed"
    assert await store.abandoned() == []
    response.status = "completed"
    await store.finish("dead", response)
    assert (await service.get("dead", response.id)).body["output"][0]["content"][0]["text"] == "said"


async def test_what_is_held_is_what_the_rows_weigh(database: Database) -> None:
    store = store_of(database, max_owner_bytes=2**20)
    before = (await weights(database)).get("heavy", 0)
    ids = await asyncio.gather(*(kept(store, "heavy") for _ in range(12)))
    assert (await weights(database))["heavy"] > before + 12 * 1024
    await asyncio.gather(*(store.delete("heavy", one) for one in ids), *(store.delete("heavy", one) for one in ids))
    assert (await weights(database))["heavy"] == before
    with pytest.raises(RequestError) as full:
        await store.insert("heavy", responses.begin(call_of(), "m"), call_of(input="y" * 2**20).items, [], 0.0)
    assert (full.value.status, full.value.code) == (429, "stored_responses_full")


@pytest.mark.slow
async def test_long_conversations_are_walked_back_up_to_a_limit(tmp_path: Path) -> None:
    database = Database(default_url(tmp_path))
    store, reading = store_of(database), ResponseItems(database)
    chain: list[str] = []
    for _ in range(60):
        chain.append(await kept(store, "talker", chain[-1] if chain else None, chain[-1:]))
    started = time.monotonic()
    assert await reading.chain("talker", chain[-1]) == chain
    read = await reading.items_of(chain)
    assert time.monotonic() - started < 5
    assert [item.wire["role"] for item in read if item.wire] == ["user", "assistant"] * 60
    assert MAX_TURNS >= 60
    with pytest.raises(RequestError, match="no response"):
        await reading.chain("other", chain[-1])
    await database.aclose()


async def test_an_end_that_cannot_be_stored_is_tried_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(default_url(tmp_path))
    store, call = store_of(database), call_of()
    service = ResponsePersistence(store)
    response, writer = written(call)
    response.status = "in_progress"
    draft = Draft("o", call, call.request, response, call.items, (), writer)
    await service.begin(draft)
    response.status, tries = "completed", 0
    finish = store.finish

    async def sometimes(*arguments: Any, **options: Any) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RequestError("The database is busy.", status=503)
        await finish(*arguments, **options)

    monkeypatch.setattr(store, "finish", sometimes)
    await service.finish(draft)
    assert (await service.get("o", response.id)).status == "completed"
    monkeypatch.setattr(persistence, "RETRY_FOR_S", -1.0)
    tries = 0
    with pytest.raises(RequestError):
        await service.finish(draft)
    await service.aclose()
    await database.aclose()
