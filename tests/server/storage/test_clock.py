"""A clock that jumps 40 days ahead for a while: nothing is deleted, and all is there again afterwards."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from adapters.base import Media
from compat.errors import RequestError
from compat.responses import request as responses
from server.http.multipart import Upload
from server.responses.store import ResponseStore
from server.storage.artifacts import ArtifactStore
from server.storage.clock import steady_time
from server.storage.database import Database, default_url
from server.storage.files import FileStore
from server.videos.events import JobEvents, record_end
from server.videos.store import JobStore
from server.videos.tables import jobs
from server.videos.webhooks import DeliveryFailed, WebhookSender

DAYS = 24 * 3600.0
EXPIRE_S = 30 * DAYS


class Clock:
    """The system's clock, which can be set."""

    def __init__(self) -> None:
        self.real = time.time
        self.ahead = 0.0

    def __call__(self) -> float:
        return self.real() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(time, "time", found)
    return found


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(default_url(tmp_path))
    yield opened
    await opened.aclose()


def test_promise_31_the_clock_that_deletes_goes_ahead_by_itself_only(clock: Clock) -> None:
    now = time.time()
    clock.ahead = 40 * DAYS
    assert steady_time() - now < 5
    clock.ahead = -40 * DAYS  # set right by hand: what expires waits
    assert steady_time() == pytest.approx(time.time(), abs=5)


async def test_promise_31_files_outlive_a_jump(clock: Clock, database: Database, tmp_path: Path) -> None:
    store = FileStore(database, tmp_path / "files", expire_s=EXPIRE_S, max_owner_files=9, max_owner_bytes=2**20)
    (tmp_path / "upload").write_bytes(b"x")
    kept = await store.add("me", Upload("file", "image/png", tmp_path / "upload", 1), "vision", None)
    clock.ahead = 40 * DAYS
    with pytest.raises(RequestError):
        await store.get("me", kept.id)
    await store.sweep()
    clock.ahead = 0
    assert (await store.get("me", kept.id)).id == kept.id
    assert store.path(kept).read_bytes() == b"x"


async def test_promise_31_images_outlive_a_jump(clock: Clock, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, expire_s=EXPIRE_S)
    await store.save("me", Media("image/png", b"x"))
    clock.ahead = 40 * DAYS
    await store.sweep()
    (path,) = tmp_path.rglob("*.png")
    os.utime(path, (0, clock.real() - EXPIRE_S - 60))
    await store.sweep()
    assert not path.exists()


async def test_promise_31_responses_outlive_a_jump(clock: Clock, database: Database) -> None:
    store = ResponseStore(database, expire_s=EXPIRE_S, max_bytes=2**20, max_owner_bytes=2**20)
    call = responses.parse({"model": "m", "input": "x"})
    done, running = responses.begin(call, "m"), responses.begin(call, "m")
    for response in (done, running):
        await store.insert("me", response, call.items, [], time.time() + 60)
    await store.finish("me", done)
    clock.ahead = 40 * DAYS
    assert await store.expire() == 0
    assert await store.abandoned() == []  # its server renews the lease by the same clock
    clock.ahead = 0
    assert await store.get("me", done.id) is not None


async def test_promise_31_videos_and_their_events_outlive_a_jump(clock: Clock, database: Database) -> None:
    store = JobStore(database, expire_s=EXPIRE_S, max_unfinished=9, max_owner_unfinished=9)
    row: dict[str, Any] = {"owner": "me", "server": "here", "model": "m", "status": "completed", "progress": 100}
    row |= {"created_at": time.time(), "fingerprint": "f", "plan": b"", "headline": b""}
    async with database.writing() as connection:
        for name, expires in (("kept", time.time() + EXPIRE_S), ("due", time.time() - 1)):
            await connection.execute(insert(jobs).values(row | {"id": name, "expires_at": expires}))
        await record_end(connection, "kept", "here", "completed")
    clock.ahead = 40 * DAYS
    assert await store.expire("here") == ["due"]

    class Away:
        async def post(self, body: bytes, headers: dict[str, str]) -> int:
            return 503

    events = JobEvents(database)
    (event,) = await events.pending("here")
    with pytest.raises(DeliveryFailed):  # to be sent again, not given up after "40 days"
        await WebhookSender(Away(), "secret", events).deliver(event)  # pyright: ignore[reportArgumentType]
    assert await events.pending("here") == [event]
