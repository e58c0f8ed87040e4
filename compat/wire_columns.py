"""Lists of objects in forms. The SDK sends them by column: `keyframes[][index]` for all, then `keyframes[][image]`."""

import json
import re
from collections.abc import Mapping, Sequence

from compat.errors import RequestError

_COLUMN = re.compile(r"(\w{1,64})\[\]\[(\w{1,64})\]")


def gather_columns(fields: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """A form's fields, with each list of objects as one field that holds it as JSON.

    A column that is shorter than the others cannot be told to whom its values belong, for what is missing is just not
    sent: such a list has to come as a JSON string.

    Raises:
        RequestError: 400: columns of different lengths; a list that comes in two ways.

    Examples:
        >>> gather_columns({"a[][x]": ["1", "2"], "a[][y]": ["3", "4"]})
        {'a': ['[{"x": "1", "y": "3"}, {"x": "2", "y": "4"}]']}
    """
    gathered: dict[str, list[str]] = {}
    columns: dict[str, dict[str, Sequence[str]]] = {}
    for name, values in fields.items():
        if (column := _COLUMN.fullmatch(name)) is not None:
            columns.setdefault(column[1], {})[column[2]] = values
        else:
            gathered[name] = list(values)
    for name, parts in columns.items():
        if len({len(values) for values in parts.values()}) > 1 or name in gathered:
            raise RequestError(
                f"Invalid '{name}': its members have different fields; send the list as a JSON string.", param=name
            )
        rows = [dict(zip(parts, row, strict=True)) for row in zip(*parts.values(), strict=True)]
        gathered[name] = [json.dumps(rows)]
    return gathered
