"""Tools and output formats of a chat request, from OpenAI's schemas to the adapter contract."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.base import Tool, ToolCall
from compat.errors import invalid, missing
from compat.wire import WireRequest, first_repeated


class FunctionDefinition(WireRequest):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolDefinition(WireRequest):
    """A tool; only functions are supported."""

    type: Literal["function"]
    function: FunctionDefinition


class NamedFunction(WireRequest):
    """The name inside a `tool_choice`."""

    name: str


class NamedToolChoice(WireRequest):
    """`tool_choice` that names the function to call."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchema(WireRequest):
    """The schema that the answer must match."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(WireRequest):
    """The format of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


ToolChoice = Literal["auto", "none", "required"] | NamedToolChoice


def parse_output(
    given: ResponseFormat | None,
) -> tuple[Literal["text", "json_object", "json_schema"], dict[str, Any] | None]:
    """The format of the answer, and its schema if it has one.

    Raises:
        RequestError: `json_schema` is missing, or not allowed for this type.
    """
    if given is None:
        return "text", None
    if given.type == "json_schema" and given.json_schema is None:
        raise missing("response_format.json_schema")
    if given.type != "json_schema" and given.json_schema is not None:
        raise invalid("response_format.json_schema", "requires 'type' to be 'json_schema'")
    return given.type, None if given.json_schema is None else given.json_schema.schema_


def parse_tools(given: Sequence[ToolDefinition]) -> tuple[Tool, ...]:
    """The tools in the adapter contract.

    Raises:
        RequestError: Two tools have the same name.
    """
    functions = [tool.function for tool in given]
    if (index := first_repeated(function.name for function in functions)) is not None:
        raise invalid(f"tools[{index}].function.name", f"an earlier tool is named '{functions[index].name}', too")
    return tuple(Tool(one.name, one.description or "", one.parameters or {}, bool(one.strict)) for one in functions)


def merge_tool_call(before: ToolCall, piece: ToolCall) -> ToolCall:
    """A streamed call with its next piece."""
    return ToolCall(before.id or piece.id, before.name or piece.name, before.arguments + piece.arguments, before.index)


def parse_tool_choice(tools: Sequence[ToolDefinition], choice: ToolChoice | None) -> str:
    """One of "auto", "none" and "required", or the name of one of the tools.

    Raises:
        RequestError: The choice names a tool that is not in `tools`.
    """
    if not tools:
        if choice not in (None, "auto", "none"):
            raise invalid("tool_choice", "requires 'tools', which the request does not have")
        return "none"
    if isinstance(choice, NamedToolChoice):
        name = choice.function.name
        if all(tool.function.name != name for tool in tools):
            raise invalid("tool_choice.function.name", f"'tools' has no tool named {name[:64]!r}")
        return name
    return choice or "auto"
