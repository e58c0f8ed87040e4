"""The items of stored responses: conversations to continue, references to items, pages of input items."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import literal, select

from compat.errors import RequestError
from compat.responses.input import Item
from server.responses.tables import items, owned_by, responses
from server.storage.database import Database
from server.storage.pages import read_page

MAX_TURNS = 1000
"""The most responses of one conversation."""
MAX_CONVERSATION_BYTES = 64 * 2**20


class ResponseItems:
    """Reads the items of all owners. Every method raises `RequestError` 503 while the database fails."""

    def __init__(self, database: Database) -> None:
        """Takes the database."""
        self._database = database

    async def chain(self, owner: str, response_id: str) -> list[str]:
        """Ids of a response and of those that it continues, oldest first.

        Raises:
            RequestError: 400, one of them does not exist or is unfinished, or the conversation is too long.
        """
        links = (
            select(
                responses.c.id,
                responses.c.previous_id,
                responses.c.status,
                responses.c.size_bytes,
                literal(0).label("depth"),
            )
            .where(owned_by(owner, response_id))
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
            raise _bad_chain(
                f"Invalid 'previous_response_id': there is no response {missing!r}. It was deleted, has expired, was "
                "not stored, or belongs to another API key. Send the whole conversation as input instead.",
                "previous_response_not_found",
            )
        if len(found) > MAX_TURNS or sum(link.size_bytes for link in found) > MAX_CONVERSATION_BYTES:
            raise _bad_chain(
                f"Invalid 'previous_response_id': the conversation has more than {MAX_TURNS} responses or "
                f"{MAX_CONVERSATION_BYTES} bytes. Start a new conversation.",
                "conversation_too_long",
            )
        if found[-1].status not in ("completed", "incomplete"):
            raise _bad_chain(
                f"Invalid 'previous_response_id': that response is {found[-1].status}. Send the id of a completed or "
                "incomplete one.",
                "previous_response_not_finished",
            )
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
        """The items of this owner with these ids. Of several with the same id, any."""
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(items.c.item_id, items.c.body).where(items.c.owner == owner, items.c.item_id.in_(ids))
            )
            return {row.item_id: msgspec.json.decode(row.body) for row in found}

    async def input_items(
        self, owner: str, response_id: str, *, after: str | None, limit: int, newest_first: bool
    ) -> tuple[list[dict[str, Any]], bool]:
        """Up to `limit` input items after the item with the id `after`, and whether there are more.

        Raises:
            CursorNotFound: The response has no input item with the id `after`.
        """
        is_input = (items.c.response_id == response_id) & (items.c.owner == owner) & ~items.c.written
        cursor = None if after is None else is_input & (items.c.item_id == after)
        rows, key = select(items.c.body).where(is_input), (items.c.position,)
        async with self._database.reading() as connection:
            found, more = await read_page(connection, rows, key, after=cursor, limit=limit, newest_first=newest_first)
        return [msgspec.json.decode(row.body) for row in found], more


def _bad_chain(message: str, code: str) -> RequestError:
    return RequestError(message, param="previous_response_id", code=code)
