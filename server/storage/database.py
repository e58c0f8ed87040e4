"""The database: SQLite in the data directory by default, PostgreSQL by URL. Engine, schema, transactions, failures.

Tables are declared beside what uses them, on `METADATA`; importing that module is what makes them known here. Nothing
that happens to the database ends the server: while it cannot be reached, what needs it is a 503, and works again as
soon as the database does.
"""

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Integer, MetaData, Table, event, insert, make_url, select, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from compat.errors import RequestError

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
"""Raised with every change to a table that exists already; whoever raises it writes the way from the one before."""
BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for another's transaction, and anybody for a connection."""
STATEMENT_TIMEOUT_S = 20.0
CONNECTIONS = 8
CREATE_LOCK = 0x6D757962
"""Of PostgreSQL's advisory locks: two servers that start at once make the tables one after the other."""

METADATA = MetaData()
versions = Table("muybridge_schema", METADATA, Column("version", Integer, primary_key=True, autoincrement=False))


def default_url(data_dir: Path) -> str:
    """SQLite in the server's own directory."""
    return f"sqlite:///{data_dir / 'muybridge.sqlite'}"


class Database:
    """Transactions on the server's tables, which are made when the first one begins."""

    def __init__(self, url: str) -> None:
        """Connects to nothing yet.

        Args:
            url: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.
        """
        self._engine = _postgresql(url) if url.startswith("postgresql") else _sqlite(url)
        self._ready = False
        self._preparing = asyncio.Lock()

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that sees one state of all tables.

        Raises:
            RequestError: 503, when the database fails.
        """
        with _translated():
            await self._prepare()
            async with self._engine.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that writes: all of it is kept, on disk, once the context has ended; else nothing is.

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
        """Ends all connections; one that does not end in time is left to the end of the process."""
        with suppress(TimeoutError, SQLAlchemyError, OSError):
            await asyncio.wait_for(self._engine.dispose(), BUSY_TIMEOUT_S)

    async def _prepare(self) -> None:
        if self._ready:
            return
        async with self._preparing:
            if not self._ready:
                async with self._engine.connect() as connection:
                    connection = await connection.execution_options(muybridge_writes=True)
                    async with connection.begin():
                        await connection.run_sync(_create)
                self._ready = True


def _create(connection: Connection) -> None:
    """Makes the tables that are missing, and holds the schema's version against our own."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CREATE_LOCK})
    METADATA.create_all(connection)
    found = connection.execute(select(versions.c.version)).scalars().all()
    if not found:
        connection.execute(insert(versions).values(version=SCHEMA_VERSION))
    elif max(found) != SCHEMA_VERSION:
        log.error("the database has schema %d; this server knows %d", max(found), SCHEMA_VERSION)
        raise RequestError(
            f"The database was made by another version of this server (schema {max(found)}, not {SCHEMA_VERSION}).",
            code="database_version",
            status=503,
            headers={"x-should-retry": "false"},
        )


def _sqlite(url: str) -> AsyncEngine:
    where = make_url(url).set(drivername="sqlite+aiosqlite")
    if where.database:
        path = Path(where.database)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Conversations are in it: for this user's eyes only. SQLite gives its side files the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = create_async_engine(
        where,
        connect_args={"timeout": BUSY_TIMEOUT_S},
        pool_size=CONNECTIONS,
        pool_timeout=BUSY_TIMEOUT_S,
        hide_parameters=True,  # errors are logged, and what clients say is not
    )
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves: the driver would begin them too late
    cursor = connection.cursor()
    # FULL: what was acknowledged survives a power cut, and not only a killed process.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Writers queue up from the start. One that began as a reader would fail as soon as another has written."""
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
        pool_pre_ping=True,  # a connection that the database has closed meanwhile is replaced, and nobody notices
    )


@contextmanager
def _translated() -> Generator[None]:
    """The library's exceptions as what a client may know. The cause is logged where the 503 is."""
    try:
        yield
    except (IntegrityError, ProgrammingError, DataError):
        raise  # a mistake of ours, which is a 500 and would not go away by trying again
    except (SQLAlchemyError, OSError, sqlite3.Error) as error:
        raise _failure(error) from error


FULL = ("database or disk is full", "No space left on device", "disk I/O error")
BUSY = ("database is locked", "database table is locked")
POSTGRESQL_FULL = "53100"


def _failure(error: BaseException) -> RequestError:
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = str(cause)
    if getattr(cause, "sqlstate", None) == POSTGRESQL_FULL or any(words in said for words in FULL):
        return RequestError(
            "There is no room left in the database.",
            code="insufficient_storage",
            status=503,
            headers={"Retry-After": "30"},
        )
    if any(words in said for words in BUSY):
        return RequestError("The database is busy.", code="database_busy", status=503, headers={"Retry-After": "1"})
    return RequestError(
        "The database cannot be used now.", code="database_unavailable", status=503, headers={"Retry-After": "5"}
    )
