"""The time in DBOS's tables on any SQLite."""

import sqlite3
import time

import pytest

from server.videos.queue import Connection


def test_sqlite_tells_milliseconds_whatever_its_version() -> None:
    with sqlite3.connect(":memory:", factory=Connection) as connection:
        connection.execute("CREATE TABLE t (id INTEGER, at INTEGER DEFAULT (unixepoch('subsec') * 1000))")
        before = time.time()
        connection.execute("INSERT INTO t (id) VALUES (1)")
        (at,) = connection.execute("SELECT at FROM t").fetchone()
        assert before * 1000 - 1 <= at <= time.time() * 1000 + 1
        assert len({connection.execute("SELECT unixepoch('subsec')").fetchone() for _ in range(100_000)}) > 1
    connection.close()


@pytest.mark.skipif(sqlite3.sqlite_version_info >= (3, 42), reason="SQLite has it by itself")
def test_nothing_else_is_taken_over() -> None:
    connection = sqlite3.connect(":memory:", factory=Connection)
    assert connection.execute("SELECT unixepoch('2000-01-01', '+1 day')").fetchone() == (946771200,)
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("SELECT unixepoch('now')")
    connection.close()
