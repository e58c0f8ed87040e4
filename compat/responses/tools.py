"""Tools and text formats of a response, from OpenAI's schemas to the adapter contract."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.base import Tool
from compat.errors import invalid
from compat.tools import MAX_TOOLS, Choice, Grammar, ServerTool, choose, custom_tool, leave_out, refuse_choice
from compat.wire import WireRequest

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class AnyToolFields(WireRequest):
    """What functions and custom tools have in common."""

    name: Name
    description: str | None = None
    allowed_callers: Any = None
    """Has no effect: only the model calls tools here."""
    defer_loading: bool | None = None
    """Has no effect: every tool is shown to the model."""
    async_: Annotated[Literal[False] | None, Field(alias="async")] = None


class FunctionTool(AnyToolFields):
    """A function that the model may call."""

    type: Literal["function"]
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    output_schema: Any = None
    """Has no effect: the model reads outputs as they are."""


class TextInput(WireRequest):
    """Free text."""

    type: Literal["text"]


class GrammarInput(Grammar):
    """Text that matches a grammar."""

    type: Literal["grammar"]


class CustomTool(AnyToolFields):
    """A tool that takes text instead of JSON."""

    type: Literal["custom"]
    format: Annotated[TextInput | GrammarInput, Field(discriminator="type")] | None = None


CallableTool = Annotated[FunctionTool | CustomTool, Field(discriminator="type")]


class NamespaceTool(WireRequest):
    """A group of tools."""

    type: Literal["namespace"]
    name: Name
    description: str | None = None
    tools: Annotated[list[CallableTool], Field(max_length=MAX_TOOLS, fail_fast=True)]


AnyTool = Annotated[FunctionTool | CustomTool | NamespaceTool | ServerTool, Field(discriminator="type")]
Tools = Annotated[list[AnyTool], Field(max_length=MAX_TOOLS, fail_fast=True)]


class ToolChoiceFunction(WireRequest):
    """A function that must be called."""

    type: Literal["function"]
    name: str


class ToolChoiceCustom(WireRequest):
    """A custom tool that must be called."""

    type: Literal["custom"]
    name: str


AllowedTool = Annotated[ToolChoiceFunction | ToolChoiceCustom | ServerTool, Field(discriminator="type")]


class ToolChoiceAllowed(WireRequest):
    """The subset of `tools` that may be called, or of which one must be called."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[AllowedTool], Field(min_length=1, max_length=MAX_TOOLS, fail_fast=True)]


ToolChoice = (
    Literal["auto", "none", "required"]
    | Annotated[ToolChoiceFunction | ToolChoiceCustom | ToolChoiceAllowed | ServerTool, Field(discriminator="type")]
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
    verbosity: Literal["low", "medium", "high"] | None = None
    """A wish: models have no such setting."""


@dataclass(frozen=True, slots=True)
class Called:
    """What a call of a tool is, by the name that the model uses."""

    name: str
    namespace: str | None = None
    custom: bool = False


@dataclass(frozen=True, slots=True)
class ResponseTools:
    """The tools of a request."""

    tools: tuple[Tool, ...] = ()
    choice: str = "none"
    """As in `TextRequest`."""
    called: Mapping[str, Called] = field(default_factory=dict[str, Called])
    """By the name that the model uses."""


def parse_tools(given: Sequence[AnyTool], choice: ToolChoice | None) -> ResponseTools:
    """The tools and the choice among them. Server-side tools are left out, and named in a header of the reply.

    Raises:
        RequestError: Two tools have the same name, or the choice names one that is not in `tools`.
    """
    found = list(_callable(given))
    names = Counter(tool.name for _, tool, _ in found)
    tools: list[Tool] = []
    called: dict[str, Called] = {}
    for param, tool, namespace in found:
        # The model sees a name alone where that is enough.
        shown = tool.name if namespace is None or names[tool.name] == 1 else f"{namespace}__{tool.name}"
        if shown in called:
            raise invalid(f"{param}.name", f"an earlier tool is named '{shown}', too")
        called[shown] = Called(tool.name, namespace, isinstance(tool, CustomTool))
        tools.append(_tool(tool, shown))
    offered, chosen = choose(tools, _choice(choice), given)
    return ResponseTools(offered, chosen, called)


def _callable(given: Sequence[AnyTool]) -> Iterator[tuple[str, FunctionTool | CustomTool, str | None]]:
    """The tools that the model may call, each with its path and its namespace."""
    for index, tool in enumerate(given):
        if isinstance(tool, ServerTool):
            leave_out(tool)
        elif isinstance(tool, NamespaceTool):
            for at, inner in enumerate(tool.tools):
                yield f"tools[{index}].tools[{at}]", inner, tool.name
        else:
            yield f"tools[{index}]", tool, None


def _tool(tool: FunctionTool | CustomTool, shown: str) -> Tool:
    if isinstance(tool, FunctionTool):
        return Tool(shown, tool.description or "", tool.parameters or {}, strict=bool(tool.strict))
    return custom_tool(shown, tool.description, tool.format if isinstance(tool.format, GrammarInput) else None)


def _choice(choice: ToolChoice | None) -> Choice:
    if choice is None or isinstance(choice, str):
        return Choice(choice or "auto")
    if isinstance(choice, ServerTool):
        raise refuse_choice(choice.type, "tool_choice.type")
    if isinstance(choice, ToolChoiceAllowed):
        named = [
            (f"tool_choice.tools[{index}].name", tool.name)
            for index, tool in enumerate(choice.tools)
            if not isinstance(tool, ServerTool)
        ]
        return Choice(choice.mode, tuple(named))
    return Choice(named=(("tool_choice.name", choice.name),), one=True)


def render_tool(tool: AnyTool) -> dict[str, Any]:
    """A tool as the response shows it. One that was left out is marked as not available."""
    if isinstance(tool, ServerTool):
        return {**tool.model_dump(), "available": False}
    if isinstance(tool, FunctionTool):
        return {
            "type": tool.type,
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "strict": bool(tool.strict),
        }
    return tool.model_dump(by_alias=True, exclude_none=True)


def render_tool_choice(choice: ToolChoice | None) -> str | dict[str, Any]:
    """The choice as the response shows it."""
    return (choice or "auto") if isinstance(choice, str | None) else choice.model_dump()


def render_text_config(config: TextConfig | None) -> dict[str, Any]:
    """The text configuration as the response shows it."""
    chosen = None if config is None else config.format
    form = {"type": "text"} if chosen is None else chosen.model_dump(by_alias=True)
    return {"format": form, "verbosity": "medium"}
