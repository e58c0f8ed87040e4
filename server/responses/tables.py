"""The tables of stored responses, and how their sizes are counted."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from server.storage.database import METADATA

ROW_BYTES = 1024
"""The size of a response beside its contents: keys, indexes, unused space. An item counts a quarter of it."""

responses = Table(
    "responses",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("previous_id", String(64)),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("background", Boolean, nullable=False),
    Column("lease_until", Double, index=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("events", LargeBinary),
)
items = Table(
    "response_items",
    METADATA,
    Column("response_id", String(64), ForeignKey("responses.id", ondelete="CASCADE"), primary_key=True),
    Column("written", Boolean, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(64), nullable=False),
    Column("item_id", String(128), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("response_items_by_id", "owner", "item_id"),
)
usage = Table(
    "response_bytes",
    METADATA,
    Column("owner", String(64), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
)


def owned_by(owner: str, response_id: str) -> Any:
    """The condition for one response of one owner."""
    return (responses.c.id == response_id) & (responses.c.owner == owner)


def item_rows(
    owner: str, response_id: str, encoded: Sequence[tuple[str, bytes]], *, written: bool
) -> list[dict[str, Any]]:
    """Rows of `items`, from pairs of item id and encoded item."""
    return [
        {
            "response_id": response_id,
            "written": written,
            "position": at,
            "owner": owner,
            "item_id": item_id,
            "body": body,
        }
        for at, (item_id, body) in enumerate(encoded)
    ]


def size_of(rows: Sequence[dict[str, Any]]) -> int:
    """The size of rows of `items`, in bytes."""
    return sum(len(row["body"]) + ROW_BYTES // 4 for row in rows)


async def add_usage(connection: AsyncConnection, owner: str, size: int) -> None:
    """Adds to the stored bytes of an owner. The statement is the same in SQLite and PostgreSQL."""
    await connection.execute(
        text(
            "INSERT INTO response_bytes (owner, size_bytes) VALUES (:owner, :size) "
            "ON CONFLICT (owner) DO UPDATE SET size_bytes = response_bytes.size_bytes + excluded.size_bytes"
        ),
        {"owner": owner, "size": size},
    )
