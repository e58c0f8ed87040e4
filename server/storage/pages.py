"""Pages of rows: keyset pagination, as all list routes of the API do it with `after`, `limit` and `order`."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


class CursorNotFound(LookupError):
    """The row that a page is to start after does not exist."""


async def read_page(
    connection: AsyncConnection,
    rows: Select[Any],
    key: Sequence[ColumnElement[Any]],
    *,
    after: ColumnElement[bool] | None,
    limit: int,
    newest_first: bool,
) -> tuple[list[Row[Any]], bool]:
    """Reads one page of a list.

    Args:
        connection: A transaction of `Database`.
        rows: All rows of the list, in no order.
        key: Columns that order the rows, oldest first; together they are unique.
        after: Selects the row that the page starts after. None starts at the first row.
        limit: The most rows of a page.
        newest_first: Whether the order is reversed.

    Returns:
        The rows, and whether there are more after them.

    Raises:
        CursorNotFound: `after` selects no row.
    """
    if after is not None:
        start = (await connection.execute(select(*key).where(after))).first()
        if start is None:
            raise CursorNotFound
        position = tuple_(*key)
        rows = rows.where(position < tuple(start) if newest_first else position > tuple(start))
    order = [column.desc() if newest_first else column for column in key]
    found = (await connection.execute(rows.order_by(*order).limit(limit + 1))).all()
    return list(found[:limit]), len(found) > limit
