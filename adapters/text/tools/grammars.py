"""Grammars in llguidance's Lark for answers that call tools, in the form in which the model writes calls.

They are for forced calls, for `strict` arguments of optional calls, and for answers that are either calls or JSON of a
schema. Syntax: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.base import Tool
from adapters.text.tools import json_rules
from adapters.text.tools.schemas import enforceable

MAX_CALLS = 16
"""In one answer with a grammar: small models would repeat a call until the token limit."""
_NO_CALL = r"""/([^{`\s]|`[^`]|``[^`]|```[^j]|```j[^s])(.|\n)*/"""
"""Text that starts neither with an object nor with a fenced block of JSON."""


@dataclass(frozen=True, slots=True)
class CallForm:
    """How a model writes one call: what comes before and after `{"name": ..., "arguments": ...}`."""

    opening: str
    """Lark for the text before the object, or ""."""
    closing: str
    """Lark for the text after it."""
    marked: bool
    """Whether the opening is a control token, which ordinary text never contains."""


def json_only(schema: Mapping[str, Any], *, strict: bool) -> str | None:
    """An answer of one JSON value of the schema; None for one that llguidance is to enforce as a whole."""
    rules = json_rules.rules(schema, strict=strict, prefix="json")
    return None if rules is None else "\n".join(["start: json", *rules, *json_rules.TERMINALS])


def forced(form: CallForm, tools: Sequence[Tool], *, parallel: bool) -> str:
    """An answer of one or more calls and nothing else."""
    return _grammar("start: calls", form, tools, parallel=parallel)


def calls_or_json(
    form: CallForm, tools: Sequence[Tool], schema: Mapping[str, Any], *, parallel: bool, strict: bool = False
) -> str:
    """An answer that is either calls or one JSON value of the schema; if calls are not marked, at most one call."""
    if form.marked:
        answer = "\n".join(_json("answer", schema, strict=strict))
        return _grammar(f"start: calls | answer\n{answer}", form, tools, parallel=parallel)
    # Both start alike, and llguidance's lexer does not backtrack, so it must be one schema.
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": tool.name},
                "arguments": _rebased(_parameters(tool), f"/anyOf/{index}/properties/arguments"),
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for index, tool in enumerate(tools)
    ]
    strict = strict or any(tool.strict for tool in tools)
    either = {"anyOf": [*calls, _rebased(schema, f"/anyOf/{len(calls)}")]}
    return f"start: %json {json.dumps(enforceable(either, strict=strict))}"


def calls_or_text(form: CallForm, tools: Sequence[Tool], *, parallel: bool) -> str:
    """An answer in which each call matches its schema; marked calls may be in any text, others stand alone."""
    start = "start: TEXT | TEXT calls\nTEXT: /(.|\\n)*/" if form.marked else f"start: calls | TEXT\nTEXT: {_NO_CALL}"
    return _grammar(start, form, tools, parallel=parallel)


def _grammar(start: str, form: CallForm, tools: Sequence[Tool], *, parallel: bool) -> str:
    more = f' ("\\n" call){{0,{MAX_CALLS - 1}}}' if parallel else ""
    lines = [start, f"calls: call{more}", "call: " + " | ".join(f"call{index}" for index in range(len(tools)))]
    for index, tool in enumerate(tools):
        head = json.dumps(f'{{"name": {json.dumps(tool.name)}, "arguments": ')
        lines.append(f'call{index}: {form.opening} {head} arguments{index}_ "}}" {form.closing}')
        lines += _json(f"arguments{index}_", _parameters(tool), strict=tool.strict)
    return "\n".join([*lines, *json_rules.TERMINALS])


def _json(name: str, schema: Mapping[str, Any], *, strict: bool) -> list[str]:
    """The rules of a JSON value of the schema."""
    whole = [f"{name}: %json {json.dumps(enforceable(schema, strict=strict))}"]
    return json_rules.rules(schema, strict=strict, prefix=name) or whole


def _parameters(tool: Tool) -> Mapping[str, Any]:
    return tool.parameters or {"type": "object"}


def _rebased(schema: Any, to: str) -> Any:
    """The schema with its references adjusted to its place within another schema."""
    if isinstance(schema, Mapping):
        return {
            name: f"#{to}{value[1:]}"
            if name == "$ref" and isinstance(value, str) and value.startswith("#")
            else _rebased(value, to)
            for name, value in schema.items()
        }
    return [_rebased(item, to) for item in schema] if isinstance(schema, list | tuple) else schema
