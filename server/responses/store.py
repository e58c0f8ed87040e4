"""Stored responses as rows, with their items, their owner, and their size. SQL only; no logic of responses.

The `Response` object is stored without its output. Output items are rows, like input items, so that items can be found
by id and conversations are put together without reading anything twice.
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
from server.responses.tables import ROW_BYTES, add_usage, item_rows, items, owned_by, responses, size_of, usage
from server.storage.clock import steady_time
from server.storage.database import Database


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A stored response with its output."""

    id: str
    status: str
    background: bool
    lease_until: float | None
    """Unix time until which the server that generates it is assumed to run; None when the response has ended."""
    body: dict[str, Any]
    """The `Response` object."""

    @property
    def abandoned(self) -> bool:
        """Whether the server that generated it has ended without finishing it."""
        return self.status in UNFINISHED and (self.lease_until or 0) < steady_time()


class ResponseStore:
    """The stored responses of all owners. Every method raises `RequestError` 503 while the database fails."""

    def __init__(self, database: Database, *, expire_s: float, max_bytes: int, max_owner_bytes: int) -> None:
        """Takes the database and the limits of what is stored."""
        self._database = database
        self._expire_s = expire_s
        self._max_bytes = max_bytes
        self._max_owner_bytes = max_owner_bytes

    async def insert(
        self, owner: str, response: Response, input_items: Sequence[Item], chain: Sequence[str], lease_until: float
    ) -> None:
        """Stores a response before its generation starts, with its input.

        Args:
            owner: The owner of the response.
            response: The response as it is now.
            input_items: Its own input.
            chain: Ids of the responses that it continues. They are kept at least as long as this one.
            lease_until: See `StoredResponse`.

        Raises:
            RequestError: 429, the owner's storage is full; 503, the server's storage is full.
        """
        body = _body(response)
        rows = item_rows(
            owner, response.id, [(item.id, msgspec.json.encode(item.wire)) for item in input_items], written=False
        )
        size = len(body) + ROW_BYTES + size_of(rows)
        expires_at = time.time() + self._expire_s
        async with self._database.writing() as connection:
            await self._check_quota(connection, owner, size)
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
            await add_usage(connection, owner, size)

    async def finish(
        self, owner: str, response: Response, frames: Sequence[bytes] = (), *, again: bool = False
    ) -> None:
        """Stores the result of a response, unless it was deleted or cancelled meanwhile.

        A response that was marked as failed because its server did not renew its lease gets its real result.

        Args:
            owner: The owner of the response.
            response: The response with its final status.
            frames: The events of its stream, if clients may read the stream again.
            again: Whether this was tried before. The first try may have succeeded without being acknowledged.
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
                await add_usage(connection, owner, grown)

    async def set_status(self, response: Response) -> None:
        """Stores the status of an unfinished response."""
        async with self._database.writing() as connection:
            changing = update(responses).where(responses.c.id == response.id, responses.c.status.in_(UNFINISHED))
            await connection.execute(changing.values(status=response.status, body=_body(response)))

    async def get(self, owner: str, response_id: str) -> StoredResponse | None:
        """A response of this owner; None if there is none."""
        columns = (responses.c.status, responses.c.background, responses.c.lease_until, responses.c.body)
        async with self._database.reading() as connection:
            found = (await connection.execute(select(*columns).where(owned_by(owner, response_id)))).one_or_none()
            if found is None:
                return None
            output = await connection.execute(
                select(items.c.body)
                .where(items.c.response_id == response_id, items.c.written)
                .order_by(items.c.position)
            )
            body = msgspec.json.decode(found.body)
            body["output"] = [msgspec.json.decode(item) for item in output.scalars()]
        return StoredResponse(response_id, found.status, found.background, found.lease_until, body)

    async def events(self, owner: str, response_id: str) -> list[bytes]:
        """The frames of a finished background response's stream."""
        async with self._database.reading() as connection:
            packed = await connection.scalar(select(responses.c.events).where(owned_by(owner, response_id)))
        if not packed:
            return []
        unpacked = await asyncio.to_thread(zlib.decompress, packed)
        return [frame + b"\n\n" for frame in unpacked.split(b"\n\n")[:-1]]

    async def delete(self, owner: str, response_id: str) -> bool:
        """Removes a response and its items; False if there was none."""
        async with self._database.writing() as connection:
            size = await connection.scalar(
                delete(responses).where(owned_by(owner, response_id)).returning(responses.c.size_bytes)
            )
            if size is not None:
                await add_usage(connection, owner, -size)
        return size is not None

    async def renew(self, ids: Sequence[str], lease_until: float) -> set[str]:
        """Extends the leases of responses; returns the ids of those that are still unfinished."""
        async with self._database.writing() as connection:
            alive = await connection.execute(
                update(responses)
                .where(responses.c.id.in_(ids), responses.c.status.in_(UNFINISHED))
                .values(lease_until=lease_until)
                .returning(responses.c.id)
            )
            return set(alive.scalars())

    async def end(self, owner: str, stored: StoredResponse, status: str, error: dict[str, Any] | None) -> bool:
        """Sets the final status of an unfinished response, whichever server generates it; False if it had ended."""
        body = msgspec.json.encode({**stored.body, "status": status, "error": error, "output": []})
        async with self._database.writing() as connection:
            changed = await connection.execute(
                update(responses)
                .where(owned_by(owner, stored.id), responses.c.status.in_(UNFINISHED))
                .values(status=status, body=body, lease_until=None)
            )
            return bool(changed.rowcount)

    async def abandoned(self, limit: int = 100) -> list[tuple[str, str]]:
        """(owner, id) of responses whose server has ended without finishing them."""
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(responses.c.owner, responses.c.id)
                .where(responses.c.status.in_(UNFINISHED), responses.c.lease_until < steady_time())
                .limit(limit)
            )
            return [(row.owner, row.id) for row in found]

    async def expire(self, limit: int = 500) -> int:
        """Removes expired responses, at most `limit`; returns their number."""
        due = select(responses.c.id).where(responses.c.expires_at < steady_time()).limit(limit)
        async with self._database.writing() as connection:
            gone = await connection.execute(
                delete(responses)
                .where(responses.c.id.in_(due), responses.c.status.not_in(UNFINISHED))
                .returning(responses.c.owner, responses.c.size_bytes)
            )
            rows = gone.all()
            for owner in {row.owner for row in rows}:
                await add_usage(connection, owner, -sum(row.size_bytes for row in rows if row.owner == owner))
        return len(rows)

    async def _check_quota(self, connection: AsyncConnection, owner: str, size: int) -> None:
        owner_bytes = func.sum(case((usage.c.owner == owner, usage.c.size_bytes), else_=0))
        own, total = (await connection.execute(select(owner_bytes, func.sum(usage.c.size_bytes)))).one()
        own, total = own or 0, total or 0
        if own + size > self._max_owner_bytes:
            raise RequestError(
                f"The stored responses of this API key use {own} of {self._max_owner_bytes} bytes. Delete some, or "
                "send store: false.",
                code="stored_responses_full",
                param="store",
                status=429,
                headers={"x-should-retry": "false"},
            )
        if total + size > self._max_bytes:
            raise RequestError(
                "The server's storage for responses is full. Send store: false.",
                code="insufficient_storage",
                param="store",
                status=503,
                headers={"x-should-retry": "false"},
            )


def _body(response: Response) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(response, output=[]))
