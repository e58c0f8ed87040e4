"""Tools and output formats of a chat request: OpenAI's schemas, and what the seam makes of them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.base import Tool
from compat.errors import RequestError
from compat.wire import WireRequest


class FunctionDefinition(WireRequest):
    """A function that the model may ask to have called."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolDefinition(WireRequest):
    """A tool: here always a function."""

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
    """The schema that an answer must fit."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(WireRequest):
    """What the answer's text must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


ToolChoice = Literal["auto", "none", "required"] | NamedToolChoice


def parse_output(
    given: ResponseFormat | None,
) -> tuple[Literal["text", "json_object", "json_schema"], dict[str, Any] | None]:
    """What the answer must be, and its schema where it must fit one.

    Raises:
        RequestError: Type and schema do not go together.
    """
    if given is None:
        return "text", None
    if (given.type == "json_schema") != (given.json_schema is not None):
        raise RequestError('json_schema belongs to type "json_schema", and only there.', param="response_format")
    return given.type, None if given.json_schema is None else given.json_schema.schema_


def parse_tools(given: Sequence[ToolDefinition]) -> tuple[Tool, ...]:
    """The tools as the seam has them.

    Raises:
        RequestError: Two bear the same name.
    """
    functions = [tool.function for tool in given]
    if len({function.name for function in functions}) < len(functions):
        raise RequestError("Two tools bear the same name.", param="tools")
    return tuple(Tool(one.name, one.description or "", one.parameters or {}, bool(one.strict)) for one in functions)


def parse_tool_choice(tools: Sequence[ToolDefinition], choice: ToolChoice | None) -> str:
    """One of "auto", "none" and "required", or the name of one of the tools.

    Raises:
        RequestError: The choice names a tool that is not there.
    """
    if not tools:
        if choice not in (None, "auto", "none"):
            raise RequestError("tool_choice asks for a tool, but there are no tools.", param="tool_choice")
        return "none"
    if isinstance(choice, NamedToolChoice):
        name = choice.function.name
        if all(tool.function.name != name for tool in tools):
            raise RequestError(f"There is no tool {name!r} in tools.", param="tool_choice")
        return name
    return choice or "auto"
