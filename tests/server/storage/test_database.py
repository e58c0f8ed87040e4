"""The database: SQLite always, a real PostgreSQL where it is installed; what it does when it is locked, full or gone."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, literal, select, text, union_all
from support import postgres

from compat.errors import RequestError
from server.settings import Settings
from server.storage import database
from server.storage.database import Database, default_url, versions
from server.storage.pages import CursorNotFound, read_page


@pytest.fixture(scope="module")
def postgresql() -> Iterator[postgres.Postgres]:
    """A server of its own: not under pytest's directory, which only its owner may enter."""
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with tempfile.TemporaryDirectory() as directory, postgres.postgres(Path(directory)) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = default_url(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgresql").url
    found = Database(url)
    yield found
    async with found.writing() as connection:
        await connection.execute(delete(versions).where(versions.c.version > 1))
    await found.aclose()


@pytest.mark.slow
async def test_tables_are_made_once_and_transactions_are_whole(opened: Database) -> None:
    async with opened.reading() as connection:
        assert (await connection.execute(select(versions.c.version))).scalars().all() == [database.SCHEMA_VERSION]

    async def broken_off() -> None:
        async with opened.writing() as connection:
            await connection.execute(insert(versions).values(version=7))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await broken_off()
    async with opened.reading() as connection:
        assert (await connection.execute(select(versions.c.version))).scalars().all() == [database.SCHEMA_VERSION]


@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_cover_all_rows_once_also_of_the_same_time(opened: Database, newest_first: bool) -> None:
    rows = [(at, f"id{number}") for number, at in enumerate([1.5, 2.5, 2.5, 2.5, 3.5])]
    values = union_all(*(select(literal(at).label("at"), literal(name).label("id")) for at, name in rows)).subquery()
    key, seen, more = (values.c.at, values.c.id), [], True
    async with opened.reading() as connection:
        while more:
            after = values.c.id == seen[-1][1] if seen else None
            page, more = await read_page(
                connection, select(values), key, after=after, limit=2, newest_first=newest_first
            )
            seen += [(float(at), name) for at, name in page]
        assert seen == (rows[::-1] if newest_first else rows)
        with pytest.raises(CursorNotFound):
            await read_page(connection, select(values), key, after=values.c.id == "?", limit=2, newest_first=True)


async def test_servers_that_start_at_once_share_the_tables(opened: Database, tmp_path: Path) -> None:
    url = opened._engine.url.render_as_string(hide_password=False).replace("+aiosqlite", "").replace("+psycopg", "")
    others = [Database(url) for _ in range(4)]

    assert await asyncio.gather(*map(_version, others)) == [database.SCHEMA_VERSION] * 4
    await asyncio.gather(*(one.aclose() for one in others))


async def test_a_new_file_that_another_server_is_writing_is_waited_for(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "muybridge.sqlite")) as other:
        other.execute("CREATE TABLE first (id INTEGER)")
        other.execute("BEGIN IMMEDIATE")  # the journal mode cannot change, and SQLite fails at once instead of waiting
        opened = Database(default_url(tmp_path))
        version = asyncio.ensure_future(_version(opened))
        await asyncio.sleep(0.3)
        assert not version.done()
        other.rollback()
    assert await version == database.SCHEMA_VERSION
    await opened.aclose()


async def _version(opened: Database) -> int | None:
    async with opened.reading() as connection:
        return await connection.scalar(select(versions.c.version))


async def test_writers_wait_for_each_other_and_lose_nothing(opened: Database) -> None:
    async def count_up() -> None:
        async with opened.writing() as connection:
            top = await connection.scalar(select(versions.c.version).order_by(versions.c.version.desc()).limit(1))
            if opened._engine.dialect.name == "sqlite":  # PostgreSQL lets both read first: there we write only
                await connection.execute(insert(versions).values(version=(top or 0) + 1))
            else:
                await connection.execute(
                    text("INSERT INTO muybridge_schema SELECT nextval('counting') + 100")
                )  # fmt: skip

    if opened._engine.dialect.name == "postgresql":
        async with opened.writing() as connection:
            await connection.execute(text("CREATE SEQUENCE IF NOT EXISTS counting"))
    await asyncio.gather(*(count_up() for _ in range(40)))
    async with opened.reading() as connection:
        assert len((await connection.execute(select(versions.c.version))).all()) == 41


async def test_a_schema_of_another_version_is_refused(tmp_path: Path) -> None:
    first = Database(default_url(tmp_path))
    async with first.writing() as connection:
        await connection.execute(insert(versions).values(version=99))
    await first.aclose()
    second = Database(default_url(tmp_path))
    with pytest.raises(RequestError, match="schema version 99") as refused:
        async with second.reading():
            pass
    assert (refused.value.status, refused.value.code) == (503, "database_version")
    await second.aclose()


async def test_promise_31_a_locked_database_is_a_503_and_then_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.2)
    opened = Database(default_url(tmp_path))
    async with opened.reading():
        pass
    with closing(sqlite3.connect(tmp_path / "muybridge.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RequestError) as busy:
            async with opened.writing():
                pass
        assert (busy.value.status, busy.value.code) == (503, "database_busy")
        async with opened.reading() as connection:  # readers do not mind
            assert await connection.scalar(select(versions.c.version)) == 1
        other.rollback()
    async with opened.writing() as connection:
        await connection.execute(insert(versions).values(version=2))
    await opened.aclose()


async def test_promise_4_a_full_database_is_a_503_keeps_what_it_has_and_goes_on(tmp_path: Path) -> None:
    opened = Database(default_url(tmp_path))
    async with opened.writing() as connection:
        await connection.execute(text("CREATE TABLE blobs (body BLOB)"))
        await connection.execute(text("INSERT INTO blobs VALUES (x'01')"))
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 8}")

    async def too_much() -> None:
        async with opened.writing() as connection:
            await connection.execute(text("INSERT INTO blobs VALUES (x'02')"))
            await connection.execute(text("INSERT INTO blobs VALUES (zeroblob(1000000))"))

    with pytest.raises(RequestError) as full:
        await too_much()
    assert (full.value.status, full.value.code) == (503, "insufficient_storage")
    async with opened.writing() as connection:
        assert (await connection.execute(text("SELECT body FROM blobs"))).scalars().all() == [b"\1"]
        await connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        await connection.execute(text("INSERT INTO blobs VALUES (zeroblob(1000000))"))
    await opened.aclose()


async def test_a_file_that_is_no_database_is_a_503(tmp_path: Path) -> None:
    (tmp_path / "muybridge.sqlite").write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    opened = Database(default_url(tmp_path))
    with pytest.raises(RequestError) as broken:
        async with opened.reading():
            pass
    assert (broken.value.status, broken.value.code) == (503, "database_unavailable")
    await opened.aclose()


async def test_promise_31_a_postgresql_that_goes_away_and_comes_back(postgresql: postgres.Postgres) -> None:
    opened = Database(postgresql.url)
    async with opened.writing() as connection:
        await connection.execute(insert(versions).values(version=5))
    await asyncio.to_thread(postgresql.stop)
    try:
        with pytest.raises(RequestError) as gone:
            async with opened.reading():
                pass
        assert (gone.value.status, gone.value.code) == (503, "database_unavailable")
    finally:
        await asyncio.to_thread(postgresql.start)
    deadline = time.monotonic() + 60
    while True:
        try:
            async with opened.writing() as connection:  # killed without warning: what was committed is there
                assert 5 in (await connection.execute(select(versions.c.version))).scalars().all()
                await connection.execute(delete(versions).where(versions.c.version > 1))
            break
        except RequestError:  # it is still looking through its log
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
    await opened.aclose()


async def test_a_postgresql_that_never_was_is_a_503(tmp_path: Path) -> None:
    opened = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
    with pytest.raises(RequestError) as gone:
        async with opened.reading():
            pass
    assert gone.value.code == "database_unavailable"
    await opened.aclose()


async def test_conversations_are_for_this_user_only(tmp_path: Path) -> None:
    opened = Database(default_url(tmp_path))
    async with opened.writing() as connection:
        await connection.execute(insert(versions).values(version=2))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("muybridge.sqlite*")}
    assert set(modes.values()) == {0o600}, modes
    await opened.aclose()


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "postgres", "", "sqlite+pysqlite:///x"])
def test_promise_30_another_kind_of_url_is_refused_by_the_settings(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///PATH"):
        Settings(database_url=url)  # pyright: ignore[reportArgumentType]


def test_promise_27_the_urls_password_is_in_no_representation() -> None:
    settings = Settings(database_url="postgresql://me:canary-secret@db/x")  # pyright: ignore[reportArgumentType]
    assert "canary" not in repr(settings) + str(settings.model_dump())


def test_the_command_does_not_wait_for_the_database_library() -> None:
    code = (
        "import sys, server.__main__ as m; sys.argv = ['muybridge', '--help']\ntry: m.main()\nexcept SystemExit: pass\n"
    )
    code += "assert not {'sqlalchemy', 'psycopg', 'aiosqlite'} & set(sys.modules), 'imported'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
