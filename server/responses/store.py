"""Stored responses as rows: each with its items, its owner, and what it weighs. SQL and bytes; no logic of a response.

A response's own object is kept without its output: output items are rows, as input items are, so that an id finds
each and a conversation is put together without reading anything twice.
"""

import asyncio
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from compat.errors import RequestError
from compat.responses.input import Item
from compat.responses.reply import UNFINISHED, Response
from server.responses.tables import ROW_BYTES, held, item_rows, items, own, responses, size_of, weigh
from server.storage.database import Database


@dataclass(frozen=True, slots=True)
class Stored:
    """A row, with its output."""

    id: str
    status: str
    background: bool
    lease_until: float | None
    """Unix time until which whoever works on it has said to be alive; None: nobody works on it."""
    body: dict[str, Any]
    """The `Response` object."""

    @property
    def abandoned(self) -> bool:
        """Whether its server died over it."""
        return self.status in UNFINISHED and (self.lease_until or 0) < time.time()


class ResponseStore:
    """All stored responses of all owners. Every method raises `RequestError` 503 while the database fails."""

    def __init__(self, database: Database, *, expire_s: float, max_bytes: int, max_owner_bytes: int) -> None:
        """Takes the database and the limits of what is kept."""
        self._database = database
        self._expire_s = expire_s
        self._max_bytes = max_bytes
        self._max_owner_bytes = max_owner_bytes

    async def insert(
        self, owner: str, response: Response, given: Sequence[Item], chain: Sequence[str], lease_until: float
    ) -> None:
        """Keeps a response that is about to be worked on, with its input.

        Args:
            owner: Whose it is.
            response: As it is now.
            given: Its own input.
            chain: The responses that it builds on: they are kept for as long as it is.
            lease_until: See `Stored`.

        Raises:
            RequestError: 429 when the owner, 503 when all owners together hold too much already.
        """
        body = _body(response)
        rows = item_rows(
            owner, response.id, [(item.id, msgspec.json.encode(item.wire)) for item in given], written=False
        )
        size = len(body) + ROW_BYTES + size_of(rows)
        expires_at = time.time() + self._expire_s
        async with self._database.writing() as connection:
            await self._refuse_too_much(connection, owner, size)
            row = {
                "id": response.id,
                "owner": owner,
                "previous_id": response.previous_response_id,
                "created_at": response.created_at,
                "expires_at": expires_at,
                "status": response.status,
                "background": response.background,
                "lease_until": lease_until,
                "size_bytes": size,
                "body": body,
            }
            await connection.execute(insert(responses).values(row))
            if rows:
                await connection.execute(insert(items), rows)
            if chain:
                ancestors = responses.c.id.in_(chain)
                await connection.execute(update(responses).where(ancestors).values(expires_at=expires_at))
            await weigh(connection, owner, size)

    async def finish(
        self, owner: str, response: Response, frames: Sequence[bytes] = (), *, again: bool = False
    ) -> None:
        """Keeps what came of a response; nothing happens where it was deleted or cancelled meanwhile.

        One that was given up for dead, because its server did not say for a while that it lives, is healed.

        Args:
            owner: Whose it is.
            response: With its final status.
            frames: The events of its stream, where they are to be read again.
            again: Whether this was tried before: it may have been done, and only its acknowledgement lost.
        """
        body = _body(response)
        events = await asyncio.to_thread(zlib.compress, b"".join(frames)) if frames else None
        encoded = [(item.id, msgspec.json.encode(item)) for item in response.output]
        rows = item_rows(owner, response.id, encoded, written=True)
        grown = size_of(rows) + len(events or b"")
        async with self._database.writing() as connection:
            changed = await connection.execute(
                update(responses)
                .where(responses.c.id == response.id, responses.c.status.in_((*UNFINISHED, "failed")))
                .values(
                    status=response.status,
                    body=body,
                    events=events,
                    lease_until=None,
                    size_bytes=responses.c.size_bytes + grown,
                )
            )
            if changed.rowcount:
                if again:
                    await connection.execute(delete(items).where(items.c.response_id == response.id, items.c.written))
                if rows:
                    await connection.execute(insert(items), rows)
                await weigh(connection, owner, grown)

    async def set_status(self, response: Response) -> None:
        """Notes that a response is worked on now."""
        async with self._database.writing() as connection:
            changing = update(responses).where(responses.c.id == response.id, responses.c.status.in_(UNFINISHED))
            await connection.execute(changing.values(status=response.status, body=_body(response)))

    async def get(self, owner: str, response_id: str) -> Stored | None:
        """A response of this owner; None where there is none."""
        columns = (responses.c.status, responses.c.background, responses.c.lease_until, responses.c.body)
        async with self._database.reading() as connection:
            found = (await connection.execute(select(*columns).where(own(owner, response_id)))).one_or_none()
            if found is None:
                return None
            output = await connection.execute(
                select(items.c.body)
                .where(items.c.response_id == response_id, items.c.written)
                .order_by(items.c.position)
            )
            body = msgspec.json.decode(found.body)
            body["output"] = [msgspec.json.decode(item) for item in output.scalars()]
        return Stored(response_id, found.status, found.background, found.lease_until, body)

    async def events(self, owner: str, response_id: str) -> list[bytes]:
        """The frames of a finished background response's stream."""
        async with self._database.reading() as connection:
            packed = await connection.scalar(select(responses.c.events).where(own(owner, response_id)))
        if not packed:
            return []
        unpacked = await asyncio.to_thread(zlib.decompress, packed)
        return [frame + b"\n\n" for frame in unpacked.split(b"\n\n")[:-1]]

    async def delete(self, owner: str, response_id: str) -> bool:
        """Removes a response and its items; False where there was none."""
        async with self._database.writing() as connection:
            size = await connection.scalar(
                delete(responses).where(own(owner, response_id)).returning(responses.c.size_bytes)
            )
            if size is not None:
                await weigh(connection, owner, -size)
        return size is not None

    async def renew(self, ids: Sequence[str], lease_until: float) -> set[str]:
        """Says that these are still worked on; returns those that nobody has ended or deleted meanwhile."""
        async with self._database.writing() as connection:
            alive = await connection.execute(
                update(responses)
                .where(responses.c.id.in_(ids), responses.c.status.in_(UNFINISHED))
                .values(lease_until=lease_until)
                .returning(responses.c.id)
            )
            return set(alive.scalars())

    async def end(self, owner: str, stored: Stored, status: str, error: dict[str, Any] | None) -> bool:
        """Gives an unfinished response its last status, whoever works on it; False where it had ended already."""
        body = msgspec.json.encode({**stored.body, "status": status, "error": error, "output": []})
        async with self._database.writing() as connection:
            changed = await connection.execute(
                update(responses)
                .where(own(owner, stored.id), responses.c.status.in_(UNFINISHED))
                .values(status=status, body=body, lease_until=None)
            )
            return bool(changed.rowcount)

    async def abandoned(self, limit: int = 100) -> list[tuple[str, str]]:
        """(owner, id) of responses whose server died over them."""
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(responses.c.owner, responses.c.id)
                .where(responses.c.status.in_(UNFINISHED), responses.c.lease_until < time.time())
                .limit(limit)
            )
            return [(row.owner, row.id) for row in found]

    async def expire(self, limit: int = 500) -> int:
        """Removes some of those that were kept long enough; returns how many there were."""
        due = select(responses.c.id).where(responses.c.expires_at < time.time()).limit(limit)
        async with self._database.writing() as connection:
            gone = await connection.execute(
                delete(responses)
                .where(responses.c.id.in_(due), responses.c.status.not_in(UNFINISHED))
                .returning(responses.c.owner, responses.c.size_bytes)
            )
            rows = gone.all()
            for owner in {row.owner for row in rows}:
                await weigh(connection, owner, -sum(row.size_bytes for row in rows if row.owner == owner))
        return len(rows)

    async def _refuse_too_much(self, connection: AsyncConnection, owner: str, size: int) -> None:
        own_bytes = func.sum(case((held.c.owner == owner, held.c.size_bytes), else_=0))
        own, total = (await connection.execute(select(own_bytes, func.sum(held.c.size_bytes)))).one()
        own, total = own or 0, total or 0
        if own + size > self._max_owner_bytes:
            raise RequestError(
                f"This key's stored responses hold {own} of {self._max_owner_bytes} bytes: delete some, or send "
                "store: false.",
                code="stored_responses_full",
                param="store",
                status=429,
                headers={"x-should-retry": "false"},
            )
        if total + size > self._max_bytes:
            raise RequestError(
                "This server stores no more responses: send store: false.",
                code="insufficient_storage",
                param="store",
                status=503,
                headers={"x-should-retry": "false"},
            )


def _body(response: Response) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(response, output=[]))
