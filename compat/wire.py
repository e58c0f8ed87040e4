"""What all of OpenAI's schemas share: the base of request models, readable validation errors, ids, sizes.

Requests are pydantic models, for their errors; replies are msgspec structs, for their speed (ADR 3).
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError

from compat.errors import RequestError

M = TypeVar("M", bound="WireRequest")


class WireRequest(BaseModel):
    """A request's body. Unknown fields are refused, because silence would be a lie."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class FormRequest(WireRequest):
    """A body that may come as form fields, where every value is text: "24" is a number there."""

    model_config = ConfigDict(strict=False)


class WireReply(msgspec.Struct):
    """A reply's body; bears the name that OpenAI's SDK gives it."""


class Timings(WireReply):
    """Ours, beside `usage`: how long the model worked."""

    generation_ms: float
    tokens_per_second: float | None = None


def validate(model: type[M], body: Mapping[str, Any]) -> M:
    """The body as a request model.

    Raises:
        RequestError: 400, naming the first field at fault as the client called it.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = _path(first["loc"])
        if first["type"] == "extra_forbidden":
            message, code = f"Unknown parameter: '{param}'.", "unknown_parameter"
        elif first["type"] == "missing":
            message, code = f"Missing required parameter: '{param}'.", "missing_required_parameter"
        else:
            message, code = f"Invalid '{param}': {first['msg']}.", "invalid_value"
        raise RequestError(message, param=param, code=code) from None


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier():  # a union's branch is named by its type, which is no field: "function-after[...]"
            path += f".{part}" if path else part
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
