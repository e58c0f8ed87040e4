"""The items of stored responses: conversations that are taken up again, references, pages of input."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import literal, select

from compat.errors import RequestError
from compat.responses.input import Item
from server.responses.tables import items, own, responses
from server.storage.database import Database

MAX_TURNS = 1000
"""Responses that one conversation may be made of."""
MAX_CONVERSATION_BYTES = 64 * 2**20


class ResponseItems:
    """All items of all owners, to be read. Every method raises `RequestError` 503 while the database fails."""

    def __init__(self, database: Database) -> None:
        """Takes the database."""
        self._database = database

    async def chain(self, owner: str, response_id: str) -> list[str]:
        """A response and those that it builds on, oldest first.

        Raises:
            RequestError: 400, when one of them is not there (any more), is unfinished, or they are too many.
        """
        links = (
            select(
                responses.c.id,
                responses.c.previous_id,
                responses.c.status,
                responses.c.size_bytes,
                literal(0).label("depth"),
            )
            .where(own(owner, response_id))
            .cte("links", recursive=True)
        )
        links = links.union_all(
            select(
                responses.c.id,
                responses.c.previous_id,
                responses.c.status,
                responses.c.size_bytes,
                links.c.depth + 1,
            ).where(responses.c.id == links.c.previous_id, responses.c.owner == owner, links.c.depth < MAX_TURNS)
        )
        async with self._database.reading() as connection:
            found = (await connection.execute(select(links).order_by(links.c.depth.desc()))).all()
        if not found or (found[0].previous_id is not None and len(found) <= MAX_TURNS):
            missing = found[0].previous_id if found else response_id
            raise _bad_chain(f"There is no response {missing!r} to build on.", "previous_response_not_found")
        if len(found) > MAX_TURNS or sum(link.size_bytes for link in found) > MAX_CONVERSATION_BYTES:
            raise _bad_chain(
                f"The conversation has more than {MAX_TURNS} responses, or {MAX_CONVERSATION_BYTES} bytes.",
                "conversation_too_long",
            )
        if found[-1].status not in ("completed", "incomplete"):
            raise _bad_chain(f"The previous response is {found[-1].status}.", "previous_response_not_finished")
        return [link.id for link in found]

    async def items_of(self, chain: Sequence[str]) -> list[Item]:
        """The items of these responses, input before output, in the order of the responses."""
        turns = {response_id: at for at, response_id in enumerate(chain)}
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(items.c.response_id, items.c.item_id, items.c.body)
                .where(items.c.response_id.in_(chain))
                .order_by(items.c.written, items.c.position)
            )
            rows = sorted(found, key=lambda row: turns[row.response_id])  # stable: the order within each stays
        return [Item(row.item_id, msgspec.json.decode(row.body), "previous_response_id") for row in rows]

    async def find_items(self, owner: str, ids: Sequence[str]) -> Mapping[str, dict[str, Any]]:
        """The items of this owner that bear these ids; of several of one id, any."""
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(items.c.item_id, items.c.body).where(items.c.owner == owner, items.c.item_id.in_(ids))
            )
            return {row.item_id: msgspec.json.decode(row.body) for row in found}

    async def input_items(
        self, owner: str, response_id: str, *, after: str | None, limit: int, newest_first: bool
    ) -> tuple[list[dict[str, Any]], bool] | None:
        """Up to `limit` input items behind the one named, and whether there are more; None: no such item."""
        column = items.c.position
        inside = (items.c.response_id == response_id) & (items.c.owner == owner) & ~items.c.written
        wanted = select(items.c.body).where(inside)
        async with self._database.reading() as connection:
            if after is not None:
                start = await connection.scalar(select(column).where(inside, items.c.item_id == after))
                if start is None:
                    return None
                wanted = wanted.where(column < start if newest_first else column > start)
            wanted = wanted.order_by(column.desc() if newest_first else column).limit(limit + 1)
            found = [msgspec.json.decode(row.body) for row in await connection.execute(wanted)]
        return found[:limit], len(found) > limit


def _bad_chain(message: str, code: str) -> RequestError:
    return RequestError(message, param="previous_response_id", code=code)
