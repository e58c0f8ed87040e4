"""JSON schemas in the form that llguidance enforces: the spacing, bounded numbers, unknown keywords.

Syntax of `x-guidance`: https://github.com/guidance-ai/llguidance/blob/main/docs/json_schema.md
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One line with spaces, as Python writes JSON and as models have read it most. Without spaces small models are wrong
much more often; with any spaces they may write nothing else until the token limit."""
LENIENT = {"lenient": True, "coerce_one_of": True}
"""Keywords that cannot be enforced are left out, and `oneOf` is enforced as `anyOf`."""
MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON parser reads exactly. Without a limit, a model may write digits for ever."""
DECIMALS = 1e-10
"""What a number between bounds that are not negative is a multiple of. llguidance can neither count the decimals of
negative numbers nor finer ones. Numbers without bounds: `adapters/text/tools/json_rules.py`."""
MAX_NAME_PATTERNS = 16
"""In `patternProperties` of a schema that is not strict: whether two match the same name is checked for each pair."""
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Keywords that name schemas."""
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_SINGLE = (
    "additionalItems", "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_LOWER, _UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
_SIZES = {
    "integer": (*_LOWER, *_UPPER, "multipleOf"),
    "number": (*_LOWER, *_UPPER, "multipleOf"),
    "string": ("minLength", "maxLength"),
}
"""Keywords of one type whose numbers may be beyond what llguidance can count."""


def enforceable(schema: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """The schema with the layout of the JSON and bounded integers.

    Args:
        schema: The client's.
        strict: Whether all of it must be enforced. Otherwise what llguidance cannot enforce is left out: keywords,
            regular expressions with lookaheads, and references to other documents.
    """
    prepared = _prepared(schema, strict=strict, local=_has_ids(schema))
    return {**prepared, "x-guidance": {**LAYOUT, **({} if strict else LENIENT)}}


def _prepared(schema: Any, *, strict: bool, local: bool) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    given = cast(Mapping[str, Any], schema)
    made = dict(given)
    for keyword, value in given.items():
        if keyword in _NAMED and isinstance(value, Mapping):
            named = cast(Mapping[str, Any], value)
            names = tuple(named) if strict or keyword != "patternProperties" else _enforceable_names(tuple(named))
            made[keyword] = {name: _prepared(named[name], strict=strict, local=local) for name in names}
        elif keyword in _LISTED and isinstance(value, list):
            made[keyword] = [_prepared(one, strict=strict, local=local) for one in cast(list[Any], value)]
        elif keyword in _SINGLE:
            made[keyword] = _prepared(value, strict=strict, local=local)
    if not strict:
        for keyword in _too_large(given):
            del made[keyword]
    _bound(made)
    if not strict:
        pattern, reference, draft = given.get("pattern"), given.get("$ref"), given.get("$schema")
        if isinstance(pattern, str) and not _is_enforceable({"type": "string", "pattern": pattern}):
            del made["pattern"]
        if isinstance(reference, str) and not reference.startswith("#") and not local:
            del made["$ref"]
        if isinstance(draft, str) and "//json-schema.org/draft" not in draft:
            del made["$schema"]
    return made


def _bound(schema: dict[str, Any]) -> None:
    """Gives the digits of its own numbers an end."""
    given: Any = schema.get("type")
    types = given if isinstance(given, list) else [given]
    if "enum" in schema or "const" in schema:
        return
    has_lower, has_upper = (any(one in schema for one in bounds) for bounds in (_LOWER, _UPPER))
    if "number" in types:
        lowest = schema.get("minimum", schema.get("exclusiveMinimum"))
        if has_upper and isinstance(lowest, int | float) and lowest >= 0 and "multipleOf" not in schema:
            schema["multipleOf"] = DECIMALS
    elif "integer" in types:
        bounds = [schema[one] for one in (*_LOWER, *_UPPER) if isinstance(schema.get(one), int | float)]
        if all(abs(one) <= MAX_INTEGER for one in bounds):
            schema |= {} if has_lower else {"minimum": -MAX_INTEGER}
            schema |= {} if has_upper else {"maximum": MAX_INTEGER}


def _too_large(schema: Mapping[str, Any]) -> list[str]:
    """Keywords of the schema's type whose numbers llguidance cannot count, together or at all."""
    kind: Any = schema.get("type")
    sizes = {name: schema[name] for name in _SIZES.get(kind, ()) if name in schema} if isinstance(kind, str) else {}
    if not sizes or _is_enforceable({"type": kind, **sizes}):
        return []
    dropped = [name for name, size in sizes.items() if not _is_enforceable({"type": kind, name: size})]
    return dropped if _is_sensible(sizes) else []


def _is_sensible(sizes: Mapping[str, Any]) -> bool:
    """Whether they have a meaning: what has none stays, and is an error."""
    numbers = all(isinstance(one, int | float) for one in sizes.values())
    return numbers and sizes.get("multipleOf", 1) > 0 and sizes.get("minLength", 0) >= 0


def _enforceable_names(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The regular expressions for names of members that can be enforced together: none, if names match several."""
    if len(patterns) > MAX_NAME_PATTERNS:
        return ()
    known = tuple(one for one in patterns if _is_enforceable({"type": "string", "pattern": one}))
    return known if _is_enforceable({"type": "object", "patternProperties": dict.fromkeys(known, True)}) else ()


def _has_ids(schema: Any) -> bool:
    """Whether parts of the schema have names of their own, which references may use."""
    return any("$id" in one for one in _objects(schema))


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        found = cast(Mapping[str, Any], value)
        yield found
        for one in found.values():
            yield from _objects(one)
    elif isinstance(value, list):
        for one in cast(list[Any], value):
            yield from _objects(one)


def _is_enforceable(schema: Mapping[str, Any]) -> bool:
    return _compiles(json.dumps(schema))


@lru_cache(maxsize=256)
def _compiles(schema: str) -> bool:
    from llguidance import LLMatcher

    return not LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(schema))
