"""Grammars in llguidance's Lark for answers that call tools, in the very form in which a model writes its calls.

They are for choices that force a call, for `strict` arguments where the model chose freely, and for answers that are
either calls or JSON of a schema. Syntax: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.base import Tool

MAX_CALLS = 16
"""In one answer that is held to a grammar: small models would repeat a call until no tokens are left."""
_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""As models write JSON by themselves; with free whitespace, small ones may write nothing else."""
_NO_CALL = r"""/([^{`\s]|`[^`]|``[^`]|```[^j]|```j[^s])(.|\n)*/"""
"""Text that begins neither as an object nor as a fence of JSON."""


@dataclass(frozen=True, slots=True)
class CallForm:
    """How a model writes one call: what stands before `{"name": ..., "arguments": ...}`, and after."""

    opening: str
    """Lark for what comes before the object, or "" for nothing."""
    closing: str
    """Lark for what comes after it."""
    marked: bool
    """Whether the opening is a token of its own, which free text never holds."""


def forced(form: CallForm, tools: Sequence[Tool], *, parallel: bool) -> str:
    """An answer that is one or more calls, and nothing else."""
    return _grammar("start: calls", form, tools, parallel=parallel)


def calls_or_json(form: CallForm, tools: Sequence[Tool], schema: Mapping[str, Any], *, parallel: bool) -> str:
    """An answer that is either calls or one JSON value of the schema; where calls bear no mark, one call at most."""
    if form.marked:
        return _grammar(f"start: calls | answer\nanswer: %json {_schema(schema)}", form, tools, parallel=parallel)
    # Both begin alike, and llguidance's lexer never goes back: so it must be one schema.
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": tool.name},
                "arguments": _moved(_parameters(tool), f"/anyOf/{index}/properties/arguments"),
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for index, tool in enumerate(tools)
    ]
    return f"start: %json {_schema({'anyOf': [*calls, _moved(schema, f'/anyOf/{len(calls)}')]})}"


def calls_or_text(form: CallForm, tools: Sequence[Tool], *, parallel: bool) -> str:
    """An answer in which each call fits its schema; around marked calls any text, else calls or text."""
    start = "start: TEXT | TEXT calls\nTEXT: /(.|\\n)*/" if form.marked else f"start: calls | TEXT\nTEXT: {_NO_CALL}"
    return _grammar(start, form, tools, parallel=parallel)


def _grammar(start: str, form: CallForm, tools: Sequence[Tool], *, parallel: bool) -> str:
    more = f' ("\\n" call){{0,{MAX_CALLS - 1}}}' if parallel else ""
    lines = [start, f"calls: call{more}", "call: " + " | ".join(f"call{index}" for index in range(len(tools)))]
    for index, tool in enumerate(tools):
        head = json.dumps(f'{{"name": {json.dumps(tool.name)}, "arguments": ')
        lines.append(f'call{index}: {form.opening} {head} arguments{index} "}}" {form.closing}')
        lines.append(f"arguments{index}: %json {_schema(_parameters(tool))}")
    return "\n".join(lines)


def _parameters(tool: Tool) -> Mapping[str, Any]:
    return tool.parameters or {"type": "object"}


def _moved(schema: Any, to: str) -> Any:
    """The schema with its references right for its place within another."""
    if isinstance(schema, Mapping):
        return {
            name: f"#{to}{value[1:]}"
            if name == "$ref" and isinstance(value, str) and value.startswith("#")
            else _moved(value, to)
            for name, value in schema.items()
        }
    return [_moved(item, to) for item in schema] if isinstance(schema, list | tuple) else schema


def _schema(schema: Mapping[str, Any]) -> str:
    return json.dumps({**schema, "x-guidance": _LAYOUT})
