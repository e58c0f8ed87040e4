"""JSON of a schema as rules of llguidance's Lark, where its numbers would have no end.

llguidance lets a model write digits of a number for ever, before and after the point and in the exponent. So numbers
that the schema does not bound are a terminal here, and the objects, arrays and alternatives around them are rules. All
else is left to llguidance (`%json`), and so is a schema that says more of these than the keywords that are read here.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from adapters.text.tools.schemas import enforceable

NUMBER = r"(0|[1-9][0-9]{0,18})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,3})?"
"""More than a number of 64 bits needs."""
TERMINALS = (f"NUMBER: /-?{NUMBER}/", f"POSITIVE: /{NUMBER}/")
MAX_ITEMS = 1000
"""`minItems` and `maxItems` beyond it are left to llguidance."""
_ANNOTATIONS = frozenset({
    "$comment", "$defs", "$schema", "default", "definitions", "deprecated", "description", "examples", "readOnly",
    "title", "writeOnly",
})  # fmt: skip
"""Keywords that do not change what a value may be."""
_SCALARS = ("string", "integer", "number", "boolean", "null")
_PLAIN = re.compile(r"[\w .:$@-]*", re.ASCII)
_REFERENCE = re.compile(r"#/(\$defs|definitions)/([^/%~]+)")


def rules(schema: Mapping[str, Any], *, strict: bool, prefix: str) -> list[str] | None:
    """The rules of a JSON value; its own is called as the prefix.

    Args:
        schema: The client's.
        strict: As for `enforceable`.
        prefix: What the names of all rules begin with: lower case letters, other than the prefixes of other schemas.

    Returns:
        None for a schema that llguidance is to enforce as a whole. The rules need the `TERMINALS`.
    """
    made = _Rules(schema, strict=strict, prefix=prefix)
    if not made.is_endless(schema):
        return None
    start = made.value(schema)
    return [f"{prefix}: {start}", *made.lines]


class _Rules:
    def __init__(self, root: Mapping[str, Any], *, strict: bool, prefix: str) -> None:
        self.lines: list[str] = []
        self._root = root
        self._strict = strict
        self._prefix = prefix
        self._named: dict[str, str] = {}
        self._any = ""
        self._readable = '"$id"' not in json.dumps(root) and all(map(_REFERENCE.fullmatch, _references(root)))

    def is_endless(self, schema: Any, above: tuple[str, ...] = ()) -> bool:
        """Whether the value has numbers without an end, in a place that `value` can write."""
        match self._form(schema):
            case "any" | "number" | "positive" | "any object" | "any array":
                return True
            case "types":
                return any(self.is_endless({"type": one}, above) for one in schema["type"])
            case "object":
                return any(self.is_endless(one, above) for one in schema["properties"].values())
            case "map":
                return self.is_endless(schema["additionalProperties"], above)
            case "array":
                return self.is_endless(schema["items"], above)
            case "either":
                options: list[Any] = schema.get("anyOf") or schema["oneOf"]
                complex_ = [one for one in options if not _is_scalar(one)]
                # Text that starts alike must be written by rules of one kind: llguidance's lexer does not backtrack.
                return any(self.is_endless(one, above) for one in options) and (
                    len(complex_) < 2 or all(self.is_endless(one, above) for one in complex_)
                )
            case "reference":
                name = schema["$ref"]
                return name not in above and self.is_endless(self._target(name), (*above, name))
            case _:
                return False

    def value(self, schema: Any) -> str:
        """An expression for one value."""
        if not self.is_endless(schema) and not (self._form(schema) == "reference" and schema["$ref"] in self._named):
            return self._rule(f"%json {json.dumps(self._left(schema))}")
        match self._form(schema):
            case "number":
                return "NUMBER"
            case "positive":
                return "POSITIVE"
            case "types":
                types: list[str] = [one for one in schema["type"] if one != "integer" or "number" not in schema["type"]]
                return f"({' | '.join(self.value({'type': one}) for one in types)})"
            case "either":
                return f"({' | '.join(self.value(one) for one in schema.get('anyOf') or schema['oneOf'])})"
            case "object":
                return self._object(schema["properties"], schema.get("required", []))
            case "map":
                member = f'{self._any_value()}_string ": " {self.value(schema["additionalProperties"])}'
                return self._rule(_listed("{", member, "}"))
            case "array":
                item = self.value(schema["items"])
                return self._rule(_listed("[", item, "]", schema.get("minItems", 0), schema.get("maxItems")))
            case "reference":
                if (name := schema["$ref"]) not in self._named:
                    self._named[name] = made = self._rule("")
                    self.lines[self.lines.index(f"{made}: ")] = f"{made}: {self.value(self._target(name))}"
                return self._named[name]
            case form:
                return "_".join([self._any_value(), *form.split()[1:]])

    def _form(self, schema: Any) -> str:
        """How a value is written; "" if llguidance is to enforce it."""
        if not self._readable or not isinstance(schema, Mapping):
            return "any" if schema is True and self._readable else ""
        given = cast(Mapping[str, Any], schema)
        keys, kind = frozenset(given) - _ANNOTATIONS, given.get("type")
        if not keys:
            return "any"
        if keys == {"type"}:
            plain = {"number": "number", "object": "any object", "array": "any array"}
            return "types" if isinstance(kind, list) and kind else plain.get(kind, "") if isinstance(kind, str) else ""
        if keys == {"type", "minimum"} and kind == "number" and given["minimum"] == 0:
            return "positive"
        if keys == {"anyOf"} or keys == {"oneOf"}:
            return "either" if given.get("anyOf") or given.get("oneOf") else ""
        if keys == {"$ref"}:
            return "reference" if self._target(given["$ref"]) is not None else ""
        return _container(given, keys)

    def _target(self, reference: str) -> Any:
        found = _REFERENCE.fullmatch(reference)
        return self._root.get(found[1], {}).get(found[2]) if found else None

    def _left(self, schema: Any) -> Mapping[str, Any] | bool:
        if not isinstance(schema, Mapping):
            return cast(bool, schema)
        defined = {name: self._root[name] for name in ("$defs", "definitions") if name in self._root}
        return enforceable({**(defined if _references(schema) else {}), **schema}, strict=self._strict)

    def _rule(self, body: str) -> str:
        name = f"{self._prefix}{len(self.lines)}"
        self.lines.append(f"{name}: {body}")
        return name

    def _object(self, properties: Mapping[str, Any], required: list[str]) -> str:
        """An object with these members, in this order."""
        members: list[tuple[str, bool]] = []
        for name, one in properties.items():
            # Not all characters may stand in a literal of Lark.
            key = f'"\\"{name}\\""' if _PLAIN.fullmatch(name) else self._rule(f"%json {json.dumps({'const': name})}")
            members.append((f'{key} ": " {self.value(one)}', name in required))
        # From the last member to the first: what may follow once a member is written, and while none is.
        after = first = self._rule('"}"')
        for member, is_required in reversed(members):
            follows, begins = f'", " {member} {after}', f"{member} {after}"
            first = self._rule(begins if is_required else f"{begins} | {first}")
            after = self._rule(follows if is_required else f"{follows} | {after}")
        return self._rule(f'"{{" {first}')

    def _any_value(self) -> str:
        """The name of the rule of any JSON value."""
        if not self._any:
            self._any = name = f"{self._prefix}_any"
            member = f'{name}_string ": " {name}'
            self.lines += [
                f'{name}: {name}_string | NUMBER | "true" | "false" | "null" | {name}_array | {name}_object',
                f"{name}_string: %json {json.dumps({'type': 'string'})}",
                f"{name}_array: {_listed('[', name, ']')}",
                f"{name}_object: {_listed('{', member, '}')}",
            ]
        return self._any


def _container(schema: Mapping[str, Any], keys: frozenset[str]) -> str:
    properties, required, more = (
        schema.get("properties"),
        schema.get("required", []),
        schema.get("additionalProperties"),
    )
    if schema.get("type") == "object" and keys <= {"type", "properties", "required", "additionalProperties"}:
        if isinstance(properties, Mapping) and properties and more in (None, False):
            return "object" if isinstance(required, list) and set(required) <= set(properties) else ""
        return "map" if "properties" not in keys and not required and isinstance(more, Mapping | bool) and more else ""
    if schema.get("type") == "array" and keys <= {"type", "items", "minItems", "maxItems"} and "items" in keys:
        counts = [schema[name] for name in ("minItems", "maxItems") if name in schema]
        fits = all(type(one) is int and 0 <= one <= MAX_ITEMS for one in counts) and counts == sorted(counts)
        return "array" if fits and isinstance(schema["items"], Mapping | bool) else ""
    return ""


def _is_scalar(schema: Any) -> bool:
    given: Any = schema.get("type") if isinstance(schema, Mapping) else None
    return all(one in _SCALARS for one in (given if isinstance(given, list) else [given]))


def _listed(opening: str, item: str, closing: str, least: int = 0, most: int | None = None) -> str:
    """A list of items in brackets, separated by commas."""
    if most == 0:
        return f'"{opening}" "{closing}"'
    more = f"{{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
    some = f'{item} (", " {item}){more}'
    return f'"{opening}" {some if least else f"({some})?"} "{closing}"'


def _references(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        given = cast(Mapping[str, Any], value)
        own = [given["$ref"]] if isinstance(given.get("$ref"), str) else []
        return [*own, *(found for one in given.values() for found in _references(one))]
    return [found for one in cast(list[Any], value) for found in _references(one)] if isinstance(value, list) else []
