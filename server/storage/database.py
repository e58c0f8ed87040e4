"""The database: SQLite in the data directory by default, PostgreSQL by URL. Engine, schema, transactions, errors.

Each table is declared on `METADATA` in the package that uses it; importing that module registers it. The server keeps
running without its database: requests that need it get a 503 until the database works again.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Integer, MetaData, Table, event, insert, make_url, select, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from compat.errors import RequestError

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
"""Increased with every change to an existing table, together with a migration from the version before."""
BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for another transaction, and how long a request waits for a connection."""
STATEMENT_TIMEOUT_S = 20.0
CONNECTIONS = 8
CREATE_LOCK = 0x6D757962
"""The PostgreSQL advisory lock that keeps two starting servers from creating the tables at the same time."""

METADATA = MetaData()
versions = Table("muybridge_schema", METADATA, Column("version", Integer, primary_key=True, autoincrement=False))


def default_url(data_dir: Path) -> str:
    """The URL of a SQLite database in the data directory."""
    return f"sqlite:///{data_dir / 'muybridge.sqlite'}"


class Database:
    """Transactions on the server's tables. The first transaction creates the tables."""

    def __init__(self, url: str) -> None:
        """Sets up the engine without connecting.

        Args:
            url: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.
        """
        self._engine = _postgresql(url) if url.startswith("postgresql") else _sqlite(url)
        self._ready = False
        self._preparing = asyncio.Lock()

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """A read transaction: it sees one consistent state of all tables.

        Raises:
            RequestError: 503, when the database fails.
        """
        with _translated():
            await self._prepare()
            async with self._engine.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncConnection]:
        """A write transaction: committed to disk when the context ends, rolled back when it raises.

        Raises:
            RequestError: 503, when the database fails: `insufficient_storage`, `database_busy`, `database_unavailable`.
        """
        with _translated():
            await self._prepare()
            async with self._engine.connect() as connection:
                connection = await connection.execution_options(muybridge_writes=True)
                async with connection.begin():
                    yield connection

    async def aclose(self) -> None:
        """Closes all connections, and gives up on those that do not close in time."""
        with suppress(TimeoutError, SQLAlchemyError, OSError):
            await asyncio.wait_for(self._engine.dispose(), BUSY_TIMEOUT_S)

    async def _prepare(self) -> None:
        if self._ready:
            return
        async with self._preparing:
            if not self._ready:
                if self._engine.dialect.name == "sqlite":
                    await asyncio.to_thread(_use_wal, self._engine.url.database or "")
                async with self._engine.connect() as connection:
                    connection = await connection.execution_options(muybridge_writes=True)
                    async with connection.begin():
                        await connection.run_sync(_create)
                self._ready = True


def _create(connection: Connection) -> None:
    """Creates missing tables, and checks the schema version."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CREATE_LOCK})
    METADATA.create_all(connection)
    found = connection.execute(select(versions.c.version)).scalars().all()
    if not found:
        connection.execute(insert(versions).values(version=SCHEMA_VERSION))
    elif max(found) != SCHEMA_VERSION:
        log.error("the database has schema version %d; this server supports %d", max(found), SCHEMA_VERSION)
        raise RequestError(
            f"The database has schema version {max(found)}, but this server supports version {SCHEMA_VERSION}. The "
            "operator must run the server version that created the database, or use another database.",
            code="database_version",
            status=503,
            headers={"x-should-retry": "false"},
        )


def _sqlite(url: str) -> AsyncEngine:
    location = make_url(url).set(drivername="sqlite+aiosqlite")
    if location.database:
        path = Path(location.database)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # It contains conversations, so only this user may read it. SQLite gives its side files the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = create_async_engine(
        location,
        connect_args={"timeout": BUSY_TIMEOUT_S},
        pool_size=CONNECTIONS,
        pool_timeout=BUSY_TIMEOUT_S,
        hide_parameters=True,  # errors are logged; what clients send must not be
    )
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _use_wal(path: str) -> None:
    """Sets the journal mode, which the file keeps.

    SQLite does not wait for other connections here: where two change the mode at once, one fails with "locked" at once.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if not any(words in str(error) for words in BUSY) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def _configure_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # `_begin_sqlite` starts transactions; the driver would start them too late
    cursor = connection.cursor()
    # FULL: acknowledged writes survive a power cut, not only a killed process.
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Takes the write lock at the start. A transaction that starts as a reader fails once another one has written."""
    writes = connection.get_execution_options().get("muybridge_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: str) -> AsyncEngine:
    return create_async_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        connect_args={
            "connect_timeout": int(BUSY_TIMEOUT_S),
            "options": f"-c statement_timeout={int(STATEMENT_TIMEOUT_S * 1000)}",
            "application_name": "muybridge",
        },
        pool_size=CONNECTIONS,
        pool_timeout=BUSY_TIMEOUT_S,
        hide_parameters=True,
        pool_pre_ping=True,  # replaces connections that the database has closed meanwhile
    )


@contextmanager
def _translated() -> Generator[None]:
    """Translates the library's exceptions into errors for clients. The cause is logged with the 503."""
    try:
        yield
    except (IntegrityError, ProgrammingError, DataError):
        raise  # a bug of this server: a 500, since a retry would fail again
    except (SQLAlchemyError, OSError, sqlite3.Error) as error:
        raise _failure(error) from error


FULL = ("database or disk is full", "No space left on device", "disk I/O error")
BUSY = ("database is locked", "database table is locked")
POSTGRESQL_FULL = "53100"


def _failure(error: BaseException) -> RequestError:
    cause = error.orig if isinstance(error, DBAPIError) else error
    message = str(cause)
    if getattr(cause, "sqlstate", None) == POSTGRESQL_FULL or any(words in message for words in FULL):
        return RequestError(
            "The server's database is full. Try again later.",
            code="insufficient_storage",
            status=503,
            headers={"Retry-After": "30"},
        )
    if any(words in message for words in BUSY):
        return RequestError(
            "The server's database is busy. Try again in a second.",
            code="database_busy",
            status=503,
            headers={"Retry-After": "1"},
        )
    return RequestError(
        "The server's database is unavailable. Try again in a few seconds.",
        code="database_unavailable",
        status=503,
        headers={"Retry-After": "5"},
    )
