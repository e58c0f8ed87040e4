"""Webhook events about ended video jobs: stored in the same transaction as the end, until they are delivered."""

import secrets
import time
from dataclasses import dataclass

from sqlalchemy import Column, Double, String, Table, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from compat.videos.replies import VideoEvent, event_of
from server.storage.database import METADATA, Database

events = Table(
    "video_events",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("video_id", String(64), nullable=False),
    Column("server", String(64), nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A webhook event, and when its job ended."""

    event: VideoEvent
    created_at: float
    """Unix time."""


async def record_end(connection: AsyncConnection, video_id: str, server: str, status: str) -> None:
    """Stores an event, in the transaction in which the job ends."""
    values = {"id": f"evt_{secrets.token_hex(15)}", "video_id": video_id, "server": server, "status": status}
    await connection.execute(insert(events).values(values | {"created_at": time.time()}))


class JobEvents:
    """All undelivered events. Every method raises `RequestError` 503 while the database fails."""

    def __init__(self, database: Database) -> None:
        """Takes the database."""
        self._database = database

    async def pending(self, server: str) -> list[str]:
        """Ids of a server's undelivered events, oldest first."""
        own = select(events.c.id).where(events.c.server == server).order_by(events.c.created_at)
        async with self._database.reading() as connection:
            return list((await connection.execute(own)).scalars())

    async def get(self, event_id: str) -> StoredEvent | None:
        """An event; None when it was delivered already."""
        async with self._database.reading() as connection:
            row = (await connection.execute(select(events).where(events.c.id == event_id))).first()
        if row is None:
            return None
        return StoredEvent(event_of(row.id, row.video_id, row.status, int(row.created_at)), row.created_at)

    async def remove(self, event_id: str) -> None:
        """Removes an event that was delivered, or is given up."""
        async with self._database.writing() as connection:
            await connection.execute(delete(events).where(events.c.id == event_id))
