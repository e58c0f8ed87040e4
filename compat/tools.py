"""Tools of chat and responses: server-side tools, which this server lacks, custom tools, and the choice among tools."""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from adapters.base import Tool
from compat.errors import RequestError, invalid
from compat.wire import WireRequest, ignore

MAX_TOOLS = 512
INPUT = "input"
"""The only argument of a custom tool, as the model sees it."""

ServerToolType = Literal[
    "apply_patch", "code_interpreter", "computer", "computer_use_preview", "file_search", "image_generation",
    "local_shell", "mcp", "programmatic_tool_calling", "shell", "tool_search", "web_search", "web_search_2025_08_26",
    "web_search_preview", "web_search_preview_2025_03_11",
]  # fmt: skip


class ServerTool(BaseModel):
    """A tool that OpenAI's servers or its own clients run. This server has none: it is left out."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)
    type: ServerToolType


class Grammar(WireRequest):
    """A grammar of a custom tool's input."""

    syntax: Literal["lark", "regex"]
    definition: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tools may be called, and whether one must be."""

    mode: str = "auto"
    """"auto", "none" or "required"."""
    named: tuple[tuple[str, str], ...] | None = None
    """The request fields and names of the tools to choose from; None: all."""
    one: bool = False
    """Whether the choice names the tool to call."""


def leave_out(tool: ServerTool) -> None:
    """Names a tool that this server lacks in a header of the reply."""
    ignore(f"tools.{tool.type}")


def refuse_choice(kind: str, param: str = "tool_choice") -> RequestError:
    """The 400 for a choice of a tool that this server lacks."""
    return invalid(param, f"this server has no tool of type '{kind}'; choose one of your functions, or send 'auto'")


def custom_tool(name: str, description: str | None, grammar: Grammar | None) -> Tool:
    """A custom tool as a function of one text. Regular expressions are enforced, Lark grammars shown."""
    text = description or ""
    schema: dict[str, Any] = {"type": "string"}
    if grammar is not None:
        text = f"{text}\n\nThe input must match this {grammar.syntax} grammar:\n{grammar.definition}".strip()
        if grammar.syntax == "regex":
            schema["pattern"] = f"^(?:{grammar.definition})$"
        else:
            ignore(f"tools.{name}.format")
    parameters = {"type": "object", "properties": {INPUT: schema}, "required": [INPUT], "additionalProperties": False}
    return Tool(name, text, parameters, strict="pattern" in schema)


def choose(
    tools: Sequence[Tool], choice: Choice, sent: Collection[object], field: str = "tools"
) -> tuple[tuple[Tool, ...], str]:
    """The tools to offer, and the choice in the adapter contract.

    Args:
        tools: All that this server can offer.
        choice: The client's.
        sent: The tools of the request, with those that were left out.
        field: Where the request has them.

    Raises:
        RequestError: The choice names a tool that is not there, or requires one although there is none.
    """
    forced = choice.one or choice.mode == "required"
    if forced and not sent:
        raise invalid("tool_choice", "requires 'tools', which the request does not have")
    names = {tool.name for tool in tools}
    for param, name in choice.named or ():
        if name not in names:
            raise invalid(param, f"'{field}' has no {field[:-1]} named {name[:64]!r}")
    chosen = names if choice.named is None else {name for _, name in choice.named}
    offered = tuple(tool for tool in tools if choice.one or tool.name in chosen)
    if forced and not offered:
        raise invalid("tool_choice", "this server has none of the tools that may be called; send 'auto', or a function")
    if not offered:
        return (), "none"
    if choice.one and choice.named:
        return offered, choice.named[0][1]
    return offered, choice.mode


class CustomInput:
    """The input of a call of a custom tool, read from the call's arguments while they arrive."""

    def __init__(self) -> None:
        """Starts before the first piece."""
        self._unread = ""
        self._state: Literal["before", "inside", "after"] = "before"
        self._arguments = ""

    def feed(self, piece: str) -> str:
        """The text that a piece of the arguments adds to the input."""
        self._arguments += piece
        self._unread += piece
        if self._state == "before":
            if (opening := _OPENING.match(self._unread)) is None:
                return ""
            self._state, self._unread = "inside", self._unread[opening.end() :]
        if self._state == "after":
            return ""
        whole = _WHOLE.match(self._unread)
        text = whole[0] if whole is not None else ""
        if _is_half_pair(text):
            text = text[:-6]
        rest = self._unread[len(text) :]
        if rest.startswith('"'):
            self._state = "after"
        self._unread = rest
        return json.loads(f'"{text}"', strict=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def rest(self) -> str:
        """At the end of the arguments: all of them, if they are not an object with the input."""
        return self._arguments if self._state == "before" else ""


def input_of(arguments: str) -> str:
    """The input of a whole call of a custom tool."""
    reader = CustomInput()
    return reader.feed(arguments) + reader.rest()


_OPENING = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_WHOLE = re.compile(r'(?:[^"\\]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')
"""The characters of a JSON string up to its end, or up to an escape that is still incomplete."""
_HIGH = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}$")


def _is_half_pair(text: str) -> bool:
    """Whether the escaped text ends between the halves of a surrogate pair."""
    found = _HIGH.search(text)
    return found is not None and (len(text[: found.start()]) - len(text[: found.start()].rstrip("\\"))) % 2 == 0
