"""Tools and output formats of a chat request, from OpenAI's schemas to the adapter contract."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.base import Tool, ToolCall
from compat.errors import invalid, missing
from compat.tools import MAX_TOOLS, Choice, Grammar, ServerTool, choose, custom_tool, leave_out
from compat.wire import WireRequest, first_repeated

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class FunctionDefinition(WireRequest):
    """A function that the model may call."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolDefinition(WireRequest):
    """A function as a tool."""

    type: Literal["function"]
    function: FunctionDefinition


class TextInput(WireRequest):
    """Free text."""

    type: Literal["text"]


class GrammarInput(WireRequest):
    """Text that matches a grammar."""

    type: Literal["grammar"]
    grammar: Grammar


class CustomDefinition(WireRequest):
    """A tool that takes text instead of JSON."""

    name: Name
    description: str | None = None
    format: Annotated[TextInput | GrammarInput, Field(discriminator="type")] | None = None


class CustomToolDefinition(WireRequest):
    """A custom tool."""

    type: Literal["custom"]
    custom: CustomDefinition


AnyTool = Annotated[ToolDefinition | CustomToolDefinition | ServerTool, Field(discriminator="type")]
Tools = Annotated[list[AnyTool], Field(max_length=MAX_TOOLS, fail_fast=True)]
Functions = Annotated[list[FunctionDefinition], Field(max_length=MAX_TOOLS, fail_fast=True)]


class NamedFunction(WireRequest):
    """The name inside a choice of a tool."""

    name: str


class NamedToolChoice(WireRequest):
    """A choice that names the function to call."""

    type: Literal["function"]
    function: NamedFunction


class NamedCustomChoice(WireRequest):
    """A choice that names the custom tool to call."""

    type: Literal["custom"]
    custom: NamedFunction


NamedChoice = Annotated[NamedToolChoice | NamedCustomChoice, Field(discriminator="type")]


class AllowedTools(WireRequest):
    """The subset of `tools` that may be called, or of which one must be called."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedChoice], Field(min_length=1, max_length=MAX_TOOLS, fail_fast=True)]


class AllowedToolChoice(WireRequest):
    """A choice among some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice = (
    Literal["auto", "none", "required"]
    | Annotated[NamedToolChoice | NamedCustomChoice | AllowedToolChoice, Field(discriminator="type")]
)
FunctionChoice = Literal["auto", "none"] | NamedFunction


class JsonSchema(WireRequest):
    """The schema that the answer must match."""

    name: Name
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema", default_factory=lambda: {"type": "object"})]
    strict: bool | None = None


class ResponseFormat(WireRequest):
    """The format of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


@dataclass(frozen=True, slots=True)
class ChatTools:
    """The tools of a request."""

    tools: tuple[Tool, ...] = ()
    choice: str = "none"
    """As in `TextRequest`."""
    custom: frozenset[str] = frozenset()
    """Names of those whose calls are rendered as calls of custom tools."""
    legacy: bool = False
    """Whether calls are rendered as `function_call`."""


def parse_output(
    given: ResponseFormat | None,
) -> dict[str, Any]:
    """The format of the answer, as arguments of `TextRequest`.

    Raises:
        RequestError: `json_schema` is missing, or not allowed for this type.
    """
    if given is None:
        return {}
    if given.type == "json_schema" and given.json_schema is None:
        raise missing("response_format.json_schema")
    if given.type != "json_schema" and given.json_schema is not None:
        raise invalid("response_format.json_schema", "requires 'type' to be 'json_schema'")
    if given.json_schema is None:
        return {"output": given.type}
    return {"output": given.type, "schema": given.json_schema.schema_, "strict": bool(given.json_schema.strict)}


def parse_tools(given: Sequence[AnyTool], choice: ToolChoice | None) -> ChatTools:
    """The tools and the choice among them. Server-side tools are left out, and named in a header of the reply.

    Raises:
        RequestError: Two tools have the same name, or the choice names one that is not in `tools`.
    """
    tools: list[Tool | None] = []
    for tool in given:
        if isinstance(tool, ServerTool):
            leave_out(tool)
        tools.append(_tool(tool))
    names = [f"#{index}" if tool is None else tool.name for index, tool in enumerate(tools)]
    if (index := first_repeated(names)) is not None:
        kind = "custom" if isinstance(given[index], CustomToolDefinition) else "function"
        raise invalid(f"tools[{index}].{kind}.name", f"an earlier tool is named '{names[index]}', too")
    offered, chosen = choose([tool for tool in tools if tool is not None], _choice(choice), given)
    custom = frozenset(tool.custom.name for tool in given if isinstance(tool, CustomToolDefinition))
    return ChatTools(offered, chosen, custom)


def parse_functions(given: Sequence[FunctionDefinition], choice: FunctionChoice | None) -> ChatTools:
    """The same for `functions` and `function_call`, which came before tools."""
    if (index := first_repeated(function.name for function in given)) is not None:
        raise invalid(f"functions[{index}].name", f"an earlier function is named '{given[index].name}', too")
    named = isinstance(choice, NamedFunction)
    chosen = Choice(named=(("function_call.name", choice.name),), one=True) if named else Choice(choice or "auto")
    offered, mode = choose([_function(one) for one in given], chosen, given, "functions")
    return ChatTools(offered, mode, legacy=True)


def _tool(tool: AnyTool) -> Tool | None:
    if isinstance(tool, ServerTool):
        return None
    if isinstance(tool, ToolDefinition):
        return _function(tool.function)
    form = tool.custom.format
    grammar = form.grammar if isinstance(form, GrammarInput) else None
    return custom_tool(tool.custom.name, tool.custom.description, grammar)


def _function(given: FunctionDefinition) -> Tool:
    return Tool(given.name, given.description or "", given.parameters or {}, bool(given.strict))


def _choice(choice: ToolChoice | None) -> Choice:
    if choice is None or isinstance(choice, str):
        return Choice(choice or "auto")
    if not isinstance(choice, AllowedToolChoice):
        return Choice(named=(_named(choice, "tool_choice"),), one=True)
    allowed = choice.allowed_tools
    where = "tool_choice.allowed_tools.tools"
    return Choice(allowed.mode, tuple(_named(one, f"{where}[{at}]") for at, one in enumerate(allowed.tools)))


def _named(choice: NamedToolChoice | NamedCustomChoice, param: str) -> tuple[str, str]:
    """The path and the value of a name."""
    if isinstance(choice, NamedToolChoice):
        return f"{param}.function.name", choice.function.name
    return f"{param}.custom.name", choice.custom.name


def merge_tool_call(before: ToolCall, piece: ToolCall) -> ToolCall:
    """A streamed call with its next piece."""
    return ToolCall(before.id or piece.id, before.name or piece.name, before.arguments + piece.arguments, before.index)
