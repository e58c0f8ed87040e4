"""A small valid instance of a JSON schema, for answers and calls that a request requires to match one."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

MAX_DEPTH = 32
"""Schemas that contain themselves stop here."""
_FORMATS = {
    "date": "2000-01-01",
    "time": "00:00:00Z",
    "date-time": "2000-01-01T00:00:00Z",
    "email": "a@example.com",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}


def instance_json(schema: Mapping[str, Any] | None) -> str:
    """An instance as compact JSON text; `{}` for no schema."""
    return json.dumps({} if schema is None else instance(schema, schema), separators=(",", ":"))


def is_json(text: str) -> bool:
    """Whether a text is valid JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def instance(schema: Any, root: Mapping[str, Any], depth: int = 0) -> Any:
    """An instance with the required properties only.

    Args:
        schema: The schema, or a part of it. Patterns and `not` are not read.
        root: The whole schema, for references.
        depth: How deep this part is nested.
    """
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return None
    part: Mapping[str, Any] = schema  # pyright: ignore[reportUnknownVariableType] - JSON
    if isinstance(reference := part.get("$ref"), str):
        return instance(_resolved(reference, root), root, depth + 1)
    if "const" in part:
        return part["const"]
    if part.get("enum"):
        return part["enum"][0]
    for combination in ("anyOf", "oneOf"):
        if part.get(combination):
            return instance(part[combination][0], root, depth + 1)
    if part.get("allOf"):
        merged: dict[str, Any] = {name: value for name, value in part.items() if name != "allOf"}
        for one in part["allOf"]:
            merged = _merged(merged, _resolved(one["$ref"], root) if "$ref" in one else one)
        return instance(merged, root, depth + 1)
    kind = part.get("type", "object" if "properties" in part else "string")
    return _of_type(kind if isinstance(kind, str) else kind[0], part, root, depth)


def _of_type(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    match kind:
        case "object":
            properties: Mapping[str, Any] = schema.get("properties", {})
            return {name: instance(properties.get(name, {}), root, depth + 1) for name in schema.get("required", ())}
        case "array":
            return [instance(schema.get("items", {}), root, depth + 1)] * schema.get("minItems", 0)
        case "integer":
            return int(_number(schema))
        case "number":
            return _number(schema)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            text = _FORMATS.get(schema.get("format", ""), "text")
            return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]


def _number(schema: Mapping[str, Any]) -> float:
    if "exclusiveMinimum" in schema:
        return schema["exclusiveMinimum"] + 1
    return schema.get("minimum", min(1, schema.get("maximum", 1)))


def _resolved(reference: str, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for name in reference.lstrip("#/").split("/") if reference != "#" else ():
        found = found.get(name.replace("~1", "/").replace("~0", "~"), {})
    return found


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    required: Sequence[str] = [*first.get("required", ()), *second.get("required", ())]
    properties = {**first.get("properties", {}), **second.get("properties", {})}
    return {**first, **second, "required": list(dict.fromkeys(required)), "properties": properties}
