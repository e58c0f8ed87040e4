"""What all request and reply schemas share: base classes, validation, ids, sizes, form fields.

Requests are pydantic models, for their errors; replies are msgspec structs, for their speed (ADR 3).
"""

import json
import re
import secrets
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from compat.errors import invalid, unknown
from compat.validation import explain

M = TypeVar("M", bound="WireRequest")
ignored: ContextVar[list[str] | None] = ContextVar("ignored", default=None)
"""Set to a list for a request whose unknown fields are ignored: their names are added to it."""
reply_headers: ContextVar[dict[str, str] | None] = ContextVar("reply_headers", default=None)
"""Set to a dictionary for a request: what it contains when the reply starts is sent as headers."""
MAX_IGNORED = 32
"""How many ignored parts of one request are named."""


ASKS = frozenset({
    "allowed_token_ids", "bad_words", "chat_template", "fps", "guidance_scale", "guided_choice", "guided_grammar",
    "guided_json", "guided_regex", "keyframes", "lora", "negative_prompt", "num_frames", "num_inference_steps",
    "refiner", "scheduler", "seed", "strength", "structured_outputs", "true_cfg_scale", "truncate_prompt_tokens",
    "use_beam_search",
})  # fmt: skip
"""Fields of some routes that change what the answer must be. A route that does not have one refuses it."""


class WireRequest(BaseModel):
    """A request's body. Null means absent. Unknown fields are refused, or ignored and recorded in `ignored`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        """Stops at the first unknown field. Pydantic makes an error of each, which takes seconds for a million."""
        if not isinstance(value, dict):
            return value
        body: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType] - JSON
        known = _names(cls)
        if not body.keys() <= known:
            for name in (key for key in body if key not in known and body[key] is not None):
                if (name in ASKS and body[name] is not False) or not ignore(name):
                    raise PydanticCustomError("unknown_parameter", "{name} is unknown", {"name": name})
            body = {key: item for key, item in body.items() if key in known}
        if None in body.values():
            body = {key: item for key, item in body.items() if item is not None}
        return body


def ignore(name: str) -> bool:
    """Records that a part of the request has no effect, so that a header of the reply names it.

    Returns:
        Whether unknown fields of this request are ignored at all.
    """
    names = ignored.get()
    if names is not None and name not in names and len(names) < MAX_IGNORED:
        names.append(name)
    return names is not None


class FormRequest(WireRequest):
    """A body that may come as form fields, where every value is text and "24" is a number."""

    model_config = ConfigDict(strict=False)


class WireReply(msgspec.Struct):
    """A reply's body, named as in OpenAI's SDK."""


class Timings(WireReply):
    """How long the model worked. Not in OpenAI's schema; placed beside `usage`."""

    generation_ms: float
    tokens_per_second: float | None = None


def add_reply_header(name: str, value: str) -> None:
    """Adds a header to the reply, if that has not started."""
    if (headers := reply_headers.get()) is not None:
        headers[name] = value


def release(items: list[Any]) -> None:
    """Frees what a list holds item by item: freed at once, a hundred thousand objects would stop all other threads."""
    while items:
        items.pop()


def refuse_or_ignore(name: str) -> None:
    """An unknown file of a form: refused or ignored, as unknown fields are.

    Raises:
        RequestError: Unknown fields are refused.
    """
    if not ignore(name):
        raise unknown(name[:64])


def validate(model: type[M], body: Mapping[str, Any]) -> M:
    """The body as a request model.

    Raises:
        RequestError: 400, naming the first field at fault by its full path.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise explain(error, model) from None


@cache
def _names(model: type[WireRequest]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in model.model_fields.items())


def flatten(fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A form's fields as the equivalent JSON body.

    The SDK flattens objects into names like `input_reference[image_url]`; these become objects again, one level deep.
    Several values of `name[]` become a list.

    Raises:
        RequestError: A field comes twice, or as a value and as an object.
    """
    body: dict[str, Any] = {}
    for name, values in fields.items():
        outer, bracket, inner = name.partition("[")
        if inner == "]" and outer not in fields and len(values) > 1:
            body[outer] = list(values)
            continue
        if len(values) > 1 or (bracket and not isinstance(body.setdefault(outer, {}), dict)) or name in body:
            raise invalid(name, "was sent more than once")
        if bracket:
            body[outer][inner.removesuffix("]")] = values[0]
        else:
            body[name] = values[0]
    return body


def max_entries(limit: int) -> BeforeValidator:
    """A limit on an object's entries, checked before pydantic looks at each of them."""

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > limit:  # pyright: ignore[reportUnknownArgumentType] - JSON
            raise ValueError(f"must have at most {limit:,} entries")
        return value  # pyright: ignore[reportUnknownVariableType] - JSON

    return BeforeValidator(check)


def first_repeated(values: Iterable[Hashable]) -> int | None:
    """The index of the first value that occurred before; None if all values differ."""
    seen: set[Hashable] = set()
    for index, value in enumerate(values):
        if value in seen:
            return index
        seen.add(value)
    return None


def parse_json_field(value: Any) -> Any:
    """A value of a form field: text that contains an array or an object as JSON is parsed; all else stays.

    Raises:
        ValueError: The text is not valid JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("must be valid JSON when sent as a string") from None


def new_id(prefix: str) -> str:
    """An opaque, unguessable id: 120 random bits after the prefix."""
    return f"{prefix}{secrets.token_hex(15)}"


def parse_size(size: str, *, param: str = "size") -> tuple[int, int]:
    """(width, height) of "WIDTHxHEIGHT" in pixels.

    Raises:
        RequestError: The text has another form.
    """
    width, _, height = size.partition("x")
    if not (width.isascii() and height.isascii() and width.isdecimal() and height.isdecimal()) or len(size) > 11:
        raise invalid(param, "must be WIDTHxHEIGHT in pixels, such as 1024x1024")
    return int(width), int(height)


_COLUMN = re.compile(r"(\w{1,64})\[\]\[(\w{1,64})\]")


def gather_columns(fields: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """A form's fields, with each list of objects as one field that contains it as JSON.

    The SDK sends a list of objects column by column, and leaves out the fields that an object does not have. The values
    of a column that is shorter than the others cannot be assigned to their objects, so such a list is refused and has
    to be sent as a JSON string.

    Raises:
        RequestError: 400: columns of different lengths; a list that is sent in two ways.

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
            raise invalid(name, "its items have different fields, which a form cannot express; send a JSON string")
        rows = [
            {part: value for part, value in zip(parts, row, strict=True) if value != ""}
            for row in zip(*parts.values(), strict=True)
        ]
        gathered[name] = [json.dumps(rows)]
    return gathered
