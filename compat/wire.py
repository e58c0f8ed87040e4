"""What all of OpenAI's schemas share: the base of request models, readable validation errors, ids, sizes.

Requests are pydantic models, for their errors; replies are msgspec structs, for their speed (ADR 3).
"""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from compat.errors import RequestError

M = TypeVar("M", bound="WireRequest")
ignored: ContextVar[list[str] | None] = ContextVar("ignored", default=None)
"""Set to a list for a request whose unknown fields are to be passed over: their names are added to it."""
MAX_SHOWN = 64
"""Characters of a client's own field name that an error repeats."""
MAX_IGNORED = 32
"""Unknown fields of one request that are named."""


class WireRequest(BaseModel):
    """A request's body. Unknown fields are refused, because silence would be a lie; or noted in `ignored`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        """Stops at the first unknown field. Pydantic makes an error of each: seconds, where there are a million."""
        if isinstance(value, dict) and not value.keys() <= (known := _names(cls)):
            unknown = next(key for key in value if key not in known)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON
            if (names := ignored.get()) is not None:
                return _without_unknown(cls, value, names)  # pyright: ignore[reportUnknownArgumentType] - JSON
            raise PydanticCustomError("unknown_parameter", "{name} is unknown", {"name": unknown})
        return value  # pyright: ignore[reportUnknownVariableType] - JSON


class FormRequest(WireRequest):
    """A body that may come as form fields, where every value is text: "24" is a number there."""

    model_config = ConfigDict(strict=False)


class WireReply(msgspec.Struct):
    """A reply's body; bears the name that OpenAI's SDK gives it."""


class Timings(WireReply):
    """Ours, beside `usage`: how long the model worked."""

    generation_ms: float
    tokens_per_second: float | None = None


def _without_unknown(model: type[BaseModel], value: dict[str, Any], names: list[str]) -> dict[str, Any]:
    known = _names(model)
    names.extend(key for key in value if key not in known and len(names) < MAX_IGNORED)
    return {key: item for key, item in value.items() if key in known}


def validate(model: type[M], body: Mapping[str, Any]) -> M:
    """The body as a request model.

    Raises:
        RequestError: 400, naming the first field at fault as the client called it.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        missing, location = first["type"] == "missing", first["loc"]
        if first["type"] == "unknown_parameter":
            missing, location = True, (*location, str(first.get("ctx", {}).get("name"))[:MAX_SHOWN])
        param = _path(location, body, missing=missing)
        if first["type"] == "unknown_parameter":
            message, code = f"Unknown parameter: '{param}'.", "unknown_parameter"
        elif missing:
            message, code = f"Missing required parameter: '{param}'.", "missing_required_parameter"
        else:
            message, code = f"Invalid '{param}': {first['msg']}.", "invalid_value"
        raise RequestError(message, param=param, code=code) from None


@cache
def _names(model: type[WireRequest]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in model.model_fields.items())


def _path(location: tuple[int | str, ...], body: Any, *, missing: bool) -> str:
    """The field's name as the client would write it.

    Pydantic's location also names the branches of unions ("str", "function-after[...]"); those are nowhere in the body.

    Args:
        location: Pydantic's.
        body: What was validated.
        missing: Whether the last part is a name that the body lacks, or that the model does.
    """
    path = ""
    for at, part in enumerate(location):
        if isinstance(part, int):
            path += f"[{part}]"
            body = body[part] if isinstance(body, list) and part < len(body) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON
        elif missing and at + 1 == len(location):
            path += f".{part}" if path else part
        elif isinstance(body, Mapping) and part in body:
            path += f".{part}" if path else part
            body = body[part]  # pyright: ignore[reportUnknownVariableType] - JSON
    return path


def flatten(fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A form's fields as the JSON body that says the same.

    The SDK flattens objects into names like `input_reference[image_url]`; these become objects again, one level deep.

    Raises:
        RequestError: A field comes twice, or as a value and as an object.
    """
    body: dict[str, Any] = {}
    for name, values in fields.items():
        outer, bracket, inner = name.partition("[")
        if len(values) > 1 or (bracket and not isinstance(body.setdefault(outer, {}), dict)) or name in body:
            raise RequestError(f"Send '{name}' once.", param=name)
        if bracket:
            body[outer][inner.removesuffix("]")] = values[0]
        else:
            body[name] = values[0]
    return body


def new_id(prefix: str) -> str:
    """An opaque, unguessable id: 120 random bits after the prefix."""
    return f"{prefix}{secrets.token_hex(15)}"


def parse_size(size: str, *, param: str = "size") -> tuple[int, int]:
    """(width, height) of "WIDTHxHEIGHT" in pixels.

    Raises:
        RequestError: It reads otherwise.
    """
    width, _, height = size.partition("x")
    if not (width.isascii() and height.isascii() and width.isdecimal() and height.isdecimal()) or len(size) > 11:
        raise RequestError(f"Invalid '{param}': write WIDTHxHEIGHT in pixels, like 1024x1024.", param=param)
    return int(width), int(height)


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
