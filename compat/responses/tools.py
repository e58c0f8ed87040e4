"""Tools and text formats of a response, from OpenAI's schemas to the adapter contract."""

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.base import Tool
from compat.errors import invalid
from compat.wire import WireRequest, first_repeated

MAX_TOOLS = 128
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class FunctionTool(WireRequest):
    """A function that the model may call."""

    type: Literal["function"]
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    allowed_callers: Annotated[list[Literal["direct"]], Field(max_length=1)] | None = None
    async_: Annotated[Literal[False] | None, Field(alias="async")] = None
    defer_loading: Literal[False] | None = None
    output_schema: None = None


class ToolChoiceFunction(WireRequest):
    """A function that must be called."""

    type: Literal["function"]
    name: str


class ToolChoiceAllowed(WireRequest):
    """The subset of `tools` that may be called, or of which one must be called."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[ToolChoiceFunction], Field(min_length=1, max_length=MAX_TOOLS, fail_fast=True)]


ToolChoice = (
    Literal["auto", "none", "required"] | Annotated[ToolChoiceFunction | ToolChoiceAllowed, Field(discriminator="type")]
)


class TextFormat(WireRequest):
    """Free text."""

    type: Literal["text"]


class JsonObjectFormat(WireRequest):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(WireRequest):
    """JSON that matches a schema."""

    type: Literal["json_schema"]
    name: Name
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    description: str | None = None
    strict: bool | None = None


class TextConfig(WireRequest):
    """The format of the answer's text."""

    format: Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")] | None = None
    verbosity: Literal["medium"] | None = None
    """Models have no other verbosity."""


def parse_tools(given: Sequence[FunctionTool], choice: ToolChoice | None) -> tuple[tuple[Tool, ...], str]:
    """The tools and the choice among them, in the adapter contract.

    Raises:
        RequestError: Two tools have the same name, or the choice names one that is not in `tools`.
    """
    names = {tool.name for tool in given}
    if (index := first_repeated(tool.name for tool in given)) is not None:
        raise invalid(f"tools[{index}].name", f"an earlier tool is named '{given[index].name}', too")
    if not given and choice not in (None, "auto", "none"):
        raise invalid("tool_choice", "requires 'tools', which the request does not have")
    chosen = names
    if isinstance(choice, ToolChoiceFunction):
        chosen = {choice.name}
        _check_named("tool_choice.name", choice.name, names)
    elif isinstance(choice, ToolChoiceAllowed):
        chosen = {tool.name for tool in choice.tools}
        for index, tool in enumerate(choice.tools):
            _check_named(f"tool_choice.tools[{index}].name", tool.name, names)
    allowed = names if isinstance(choice, ToolChoiceFunction) else chosen
    tools = tuple(
        Tool(tool.name, tool.description or "", tool.parameters or {}, strict=bool(tool.strict))
        for tool in given
        if tool.name in allowed
    )
    if not tools:
        return (), "none"
    if isinstance(choice, ToolChoiceFunction):
        return tools, choice.name
    return tools, choice.mode if isinstance(choice, ToolChoiceAllowed) else choice or "auto"


def _check_named(param: str, name: str, names: Collection[str]) -> None:
    if name not in names:
        raise invalid(param, f"'tools' has no tool named {name[:64]!r}")


def render_tool(tool: FunctionTool) -> dict[str, Any]:
    """A tool as the response shows it."""
    return {
        "type": tool.type,
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": bool(tool.strict),
    }


def render_tool_choice(choice: ToolChoice | None) -> str | dict[str, Any]:
    """The choice as the response shows it."""
    return (choice or "auto") if isinstance(choice, str | None) else choice.model_dump()


def render_text_config(config: TextConfig | None) -> dict[str, Any]:
    """The text configuration as the response shows it."""
    chosen = None if config is None else config.format
    form = {"type": "text"} if chosen is None else chosen.model_dump(by_alias=True)
    return {"format": form, "verbosity": "medium"}
