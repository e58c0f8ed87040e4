"""From pydantic's validation errors to one `RequestError`: which field is wrong, why, and what to send instead.

Pydantic reports an error of each branch of a union, and names the branch inside the error's location. Both are removed
here: the schema tells which parts of a location are branches, and the value's own JSON type or `type` which branch the
client meant.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from compat.errors import RequestError, invalid, missing, unknown

MAX_SHOWN = 64
"""Characters of a client's own field name that an error repeats."""

_TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "a boolean",
    "list_type": "an array",
    "tuple_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
"""The JSON type that a pydantic error asks for."""
_JSON_TYPES: Mapping[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    NoneType: "null",
}
_REASONS = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be greater than {gt}",
    "less_than": "must be less than {lt}",
    "finite_number": "must be a finite number",
    "int_from_float": "must be an integer",
    "int_parsing": "must be an integer",
    "int_parsing_size": "must be an integer of at most 4,300 digits",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length:,} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length:,} items",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "string_unicode": "must be valid Unicode; it has a lone surrogate",
    "value_error": "{error}",
}
"""Why a value of the right JSON type is wrong, with the error's own numbers."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """One of pydantic's errors, with its location split into the client's names and pydantic's."""

    type: str
    message: str
    context: Mapping[str, Any]
    location: tuple[int | str, ...]
    branches: tuple[bool, ...]
    """For each part of the location, whether it names a branch of a union and not a part of the body."""
    value: Any
    """What the client sent there; where something is missing, the object that should have it."""

    @property
    def path(self) -> tuple[int | str, ...]:
        """The location inside the body."""
        return tuple(part for part, branch in zip(self.location, self.branches, strict=True) if not branch)

    @property
    def expected(self) -> str | None:
        """What would have to stand there, where something of another JSON type does."""
        if self.type == "literal_error":
            literals = self.context["expected"]
            fits = (
                isinstance(self.value, str)
                if literals.startswith("'")
                else not isinstance(self.value, str | list | dict)
            )
            return None if fits else _literals(literals)
        return _TYPES.get(self.type)


def explain(error: ValidationError, model: type[BaseModel]) -> RequestError:
    """The 400 for the first field at fault, named by its full path as the client wrote it.

    Args:
        error: What validating a body as `model` raised.
        model: The request model.
    """
    found = [_fault(one, model) for one in error.errors(include_url=False)]
    alternatives = _choose(found, 0)
    return _refusal(alternatives)


def _fault(error: ErrorDetails, model: type[BaseModel]) -> _Fault:
    location = error["loc"]
    branches = tuple(_branches(model, location))
    return _Fault(error["type"], error["msg"], error.get("ctx", {}), location, branches, error["input"])


def _branches(model: type[BaseModel], location: Sequence[int | str]) -> Iterator[bool]:
    """For each part of a location, whether it names a branch of a union. Follows the schema's annotations."""
    kinds: list[Any] = [model]
    for part in location:
        options = [_options(kind) for kind in kinds]
        if is_branch := any(len(one) > 1 for one in options):
            kinds = [kind for one in options for kind in one]
            kinds = [kind for kind in kinds if part in _names(kind)] or kinds
        else:
            kinds = [inner for one in options for kind in one for inner in _inner(kind, part)]
        yield is_branch


def _options(kind: Any) -> list[Any]:
    """What a value may be: several where the annotation is a union. Null does not count: pydantic never names it."""
    if get_origin(kind) is Annotated and get_origin(bare := _bare(kind)) in (Union, UnionType):
        return _options(bare)
    if get_origin(kind) in (Union, UnionType):
        options = [one for one in get_args(kind) if one is not NoneType]
        return options if len(options) > 1 else _options(options[0])
    return [kind]


def _bare(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def _names(kind: Any) -> set[Any]:
    """What pydantic calls this branch: by its tag, its class, or the values of its `type`."""
    bare = _bare(kind)
    names = {one.tag for one in getattr(kind, "__metadata__", ()) if isinstance(one, Tag)}
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        names.add(bare.__name__)
        if (field := bare.model_fields.get("type")) is not None:
            names.update(value for one in _options(field.annotation) for value in get_args(one))
    return names


def _inner(kind: Any, part: int | str) -> list[Any]:
    """The annotation of a member of a value."""
    bare = _bare(kind)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return [one.annotation for name, one in bare.model_fields.items() if (one.alias or name) == part]
    return list(get_args(bare)[-1 if get_origin(bare) is dict else 0 :][:1])


def _choose(found: Sequence[_Fault], start: int) -> list[_Fault]:
    """The error that the client should read; several, where as many branches of a union expect something else there.

    Args:
        found: All errors, in pydantic's order.
        start: The first part of their locations in which they may differ.
    """
    first = found[0]
    split = next((at for at in range(start, len(first.location)) if first.branches[at]), None)
    if split is None:
        return [first]
    by_branch: dict[int | str, list[_Fault]] = {}
    for one in found:
        if one.location[:split] == first.location[:split] and len(one.location) > split:
            by_branch.setdefault(one.location[split], []).append(one)
    fitting = [
        faults
        for faults in by_branch.values()
        if not any(len(one.location) == split + 1 and one.expected for one in faults)
    ]
    if not fitting:
        return [faults[0] for faults in by_branch.values()]
    chosen = [_choose(faults, split + 1) for faults in fitting]
    # A branch whose JSON types all fit is the one that was meant, even if others got farther.
    chosen = [faults for faults in chosen if not faults[0].expected] or chosen
    farthest = max(map(_depth, chosen))
    return [one for faults in chosen if _depth(faults) == farthest for one in faults]


def _depth(faults: Sequence[_Fault]) -> tuple[int, ...]:
    """How far a branch got before it failed; of two, the one that got farther is the one that was meant."""
    path = faults[0].path
    return (len(path), *(part if isinstance(part, int) else -1 for part in path))


def _refusal(faults: Sequence[_Fault]) -> RequestError:
    fault = faults[0]
    path, context = fault.path, fault.context
    match fault.type:
        case "missing":
            return missing(format_path(path))
        case "unknown_parameter":
            return unknown(format_path((*path, str(context["name"]))))
        case "extra_forbidden":
            return unknown(format_path(path))
        case "union_tag_not_found":
            return missing(format_path((*path, context["discriminator"].strip("'"))))
        case "union_tag_invalid":
            param = format_path((*path, context["discriminator"].strip("'")))
            return invalid(param, f"must be {any_of(context['expected_tags'].split(', '))}")
        case "none_required":
            param = format_path(path)
            message = f"'{param}' is not supported by this server: omit it, or send null."
            return RequestError(message, param=param, code="invalid_value")
        case "item_type":
            value: Any = fault.value
            sent = cast(dict[str, Any], value) if isinstance(value, dict) else {}
            member = next((name for name in ("type", "role") if name in sent), "")
            return invalid(format_path((*path, member) if member else path), fault.message)
        case _ if path[-1:] == ("[key]",):
            return invalid(format_path(path[:-2]), f"its key '{str(path[-2])[:MAX_SHOWN]}' {_reason(fault)}")
        case _:
            expected = [word for one in faults for word in re.split(", | or ", one.expected or "") if word]
            if not expected:
                return invalid(format_path(path), _reason(fault))
            given = _JSON_TYPES.get(fault.value.__class__, "a value of another type")
            return invalid(format_path(path), f"must be {any_of(list(dict.fromkeys(expected)))}, not {given}")


def _reason(fault: _Fault) -> str:
    if fault.type == "literal_error":
        return f"must be {_literals(fault.context['expected'])}"
    if fault.type in ("string_too_short", "too_short") and fault.context["min_length"] == 1:
        return "must not be empty"
    numbers = {
        name: int(one) if isinstance(one, float) and one.is_integer() else one for name, one in fault.context.items()
    }
    return _REASONS[fault.type].format(**numbers) if fault.type in _REASONS else fault.message


def _literals(expected: str) -> str:
    """Pydantic's list of literals, as JSON writes them."""
    return {"False": "false", "True": "true", "None": "null"}.get(expected, expected)


def any_of(words: Sequence[str]) -> str:
    """Several words as an alternative: "a, b or c"."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def format_path(path: Sequence[int | str]) -> str:
    """A path as a client would write it: `messages[2].content[0].image_url.url`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:MAX_SHOWN]}" for part in path)
    return text.removeprefix(".")
