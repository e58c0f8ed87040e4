"""Tools and text formats of a response: flatter than chat's, and the same to the seam."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from adapters.base import Tool
from compat.errors import RequestError
from compat.wire import WireRequest

MAX_TOOLS = 128
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class FunctionTool(WireRequest):
    """A function that the model may ask to have called."""

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
    """The functions that may, or of which one must be called, out of `tools`."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[ToolChoiceFunction], Field(min_length=1, max_length=MAX_TOOLS, fail_fast=True)]


def _choice_kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "as_word"
    kind: Any = value.get("type") if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - JSON
    return kind if kind in ("function", "allowed_tools") else None


ToolChoice = Annotated[
    Annotated[Literal["auto", "none", "required"], Tag("as_word")]
    | Annotated[ToolChoiceFunction, Tag("function")]
    | Annotated[ToolChoiceAllowed, Tag("allowed_tools")],
    Discriminator(
        _choice_kind,
        custom_error_type="tool_choice",
        custom_error_message="write auto, none, required, or an object of the type function or allowed_tools",
    ),
]


class TextFormat(WireRequest):
    """Free text."""

    type: Literal["text"]


class JsonObjectFormat(WireRequest):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(WireRequest):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    name: Name
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    description: str | None = None
    strict: bool | None = None


class TextConfig(WireRequest):
    """What the text of an answer must be."""

    format: Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")] | None = None
    verbosity: Literal["medium"] | None = None
    """How much a model says is its own; there is no other."""


def parse_tools(given: Sequence[FunctionTool], choice: ToolChoice | None) -> tuple[tuple[Tool, ...], str]:
    """The tools and the choice among them, as the seam has them.

    Raises:
        RequestError: Two tools bear the same name, or the choice names one that is not there.
    """
    names = {tool.name for tool in given}
    if len(names) < len(given):
        raise RequestError("Two tools bear the same name.", param="tools")
    if not given and choice not in (None, "auto", "none"):
        raise RequestError("tool_choice asks for a tool, but there are no tools.", param="tool_choice")
    chosen = (
        {choice.name}
        if isinstance(choice, ToolChoiceFunction)
        else {tool.name for tool in choice.tools}
        if isinstance(choice, ToolChoiceAllowed)
        else names
    )
    if missing := sorted(chosen - names):
        raise RequestError(f"There is no tool {missing[0]!r} in tools.", param="tool_choice")
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


def shown_tool(tool: FunctionTool) -> dict[str, Any]:
    """A tool as a response repeats it."""
    return {
        "type": tool.type,
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": bool(tool.strict),
    }


def shown_choice(choice: ToolChoice | None) -> str | dict[str, Any]:
    """The choice as a response repeats it."""
    return (choice or "auto") if isinstance(choice, str | None) else choice.model_dump()


def shown_format(config: TextConfig | None) -> dict[str, Any]:
    """The text's configuration as a response repeats it."""
    chosen = None if config is None else config.format
    form = {"type": "text"} if chosen is None else chosen.model_dump(by_alias=True)
    return {"format": form, "verbosity": "medium"}
