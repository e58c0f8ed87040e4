"""The `input` of a decision, from OpenAI's items to the evidence that a model judges."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from adapters.base import Part, TextPart
from compat.errors import invalid
from compat.media import Detail, image_part, parse_image_url
from compat.responses.input import MAX_ITEMS, ItemId, OutputRefusal, Phase, Status
from compat.wire import WireRequest

MAX_JSON_LEVELS = 32
MAX_JSON_VALUES = 10_000
MAX_JSON_BYTES = 256 * 1024
MAX_BREAKPOINTS = 4
"""All as in OpenAI's API."""

CallId = Annotated[str, Field(min_length=1, max_length=256)]


class CacheBreakpoint(WireRequest):
    """The end of a reusable prefix. Has no effect, since every prefix is cached."""

    mode: Literal["explicit"]


class QuestionText(WireRequest):
    """A text part of a question."""

    type: Literal["input_text"]
    text: str


class QuestionImage(WireRequest):
    """An image part of a question."""

    type: Literal["input_image"]
    image_url: str
    detail: Detail | None = None


class TextInput(QuestionText):
    """A text part."""

    prompt_cache_breakpoint: CacheBreakpoint | None = None


class ImageInput(QuestionImage):
    """An image part."""

    prompt_cache_breakpoint: CacheBreakpoint | None = None


class JsonInput(WireRequest):
    """An object or an array of objects. The model reads it as text."""

    type: Literal["input_json"]
    data: dict[str, JsonValue] | list[dict[str, JsonValue]]


class AssistantText(WireRequest):
    """A text from a model."""

    type: Literal["output_text"]
    text: str


UserPart = Annotated[TextInput | ImageInput | JsonInput, Field(discriminator="type")]
ToolPart = Annotated[TextInput | ImageInput, Field(discriminator="type")]
AssistantPart = Annotated[AssistantText | OutputRefusal, Field(discriminator="type")]
QuestionPart = Annotated[QuestionText | QuestionImage | JsonInput, Field(discriminator="type")]
AnyPart = QuestionText | QuestionImage | JsonInput | AssistantText | OutputRefusal


class UserMessage(WireRequest):
    """A user message."""

    type: Literal["message"] | None = None
    role: Literal["user"]
    content: str | Annotated[list[UserPart], Field(max_length=MAX_ITEMS, fail_fast=True)]


class DeveloperMessage(WireRequest):
    """A developer or system message."""

    type: Literal["message"] | None = None
    role: Literal["developer", "system"]
    content: str | Annotated[list[TextInput], Field(max_length=MAX_ITEMS, fail_fast=True)]


class AssistantMessage(WireRequest):
    """An assistant message."""

    type: Literal["message"] | None = None
    role: Literal["assistant"]
    content: str | Annotated[list[AssistantPart], Field(max_length=MAX_ITEMS, fail_fast=True)]
    phase: Phase | None = None


class ToolCallItem(WireRequest):
    """The common fields of function calls and custom tool calls."""

    call_id: CallId
    name: Annotated[str, Field(min_length=1, max_length=256)]
    id: ItemId | None = None
    namespace: Annotated[str, Field(max_length=256)] | None = None
    status: Status | None = None


class FunctionCall(ToolCallItem):
    """A function call."""

    type: Literal["function_call"]
    arguments: str


class CustomToolCall(ToolCallItem):
    """A call of a custom tool."""

    type: Literal["custom_tool_call"]
    input: str


class ToolOutput(WireRequest):
    """A tool's output."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: CallId
    output: str | Annotated[list[ToolPart], Field(max_length=MAX_ITEMS, fail_fast=True)]
    id: ItemId | None = None
    status: Status | None = None


def _kind(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    kind = value.get("type") or "message"  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - JSON
    if kind == "message":
        kind = value.get("role")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - JSON
    return _KINDS.get(kind) if isinstance(kind, str) else None


_KINDS = {
    "user": "user",
    "developer": "instructing",
    "system": "instructing",
    "assistant": "assistant",
    "function_call": "function",
    "custom_tool_call": "custom",
    "function_call_output": "output",
    "custom_tool_call_output": "output",
}
InputItem = Annotated[
    Annotated[UserMessage, Tag("user")]
    | Annotated[DeveloperMessage, Tag("instructing")]
    | Annotated[AssistantMessage, Tag("assistant")]
    | Annotated[FunctionCall, Tag("function")]
    | Annotated[CustomToolCall, Tag("custom")]
    | Annotated[ToolOutput, Tag("output")],
    Discriminator(
        _kind,
        custom_error_type="item_type",
        custom_error_message="must be a message with role 'user', 'developer', 'system' or 'assistant', or an item of "
        "type 'function_call', 'function_call_output', 'custom_tool_call' or 'custom_tool_call_output'",
    ),
]
DecisionInput = str | Annotated[list[InputItem], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True)]


def evidence(given: str | Sequence[InputItem]) -> tuple[Part, ...]:
    """What the model judges: a single user message as it is, several items as a transcript with their roles.

    Raises:
        RequestError: An output without its call, an invalid image, or JSON that is too large.
    """
    if isinstance(given, str):
        return (TextPart(given),)
    _check_calls(given)
    found: list[Part] = []
    for index, item in enumerate(given):
        where = f"input[{index}]"
        parts = _parts(item, where)
        if len(given) == 1 and isinstance(item, UserMessage):
            return parts
        found += [TextPart(f"{'' if index == 0 else chr(10) * 2}{_heading(item)}:\n"), *parts]
    return tuple(found)


def parts_of(content: Sequence[AnyPart], param: str) -> tuple[Part, ...]:
    """Content parts in the adapter contract."""
    found: list[Part] = []
    for index, part in enumerate(content):
        where = f"{param}[{index}]"
        if isinstance(part, QuestionImage):
            found.append(image_part(parse_image_url(part.image_url, param=f"{where}.image_url"), part.detail))
        elif isinstance(part, JsonInput):
            found.append(TextPart(_json_text(part.data, f"{where}.data")))
        else:
            found.append(TextPart(part.refusal if isinstance(part, OutputRefusal) else part.text))
    return tuple(found)


def _parts(item: InputItem, param: str) -> tuple[Part, ...]:
    if isinstance(item, FunctionCall):
        return (TextPart(item.arguments),)
    if isinstance(item, CustomToolCall):
        return (TextPart(item.input),)
    field = "output" if isinstance(item, ToolOutput) else "content"
    content = item.output if isinstance(item, ToolOutput) else item.content
    return (TextPart(content),) if isinstance(content, str) else parts_of(content, f"{param}.{field}")


def _heading(item: InputItem) -> str:
    if isinstance(item, ToolCallItem):
        return f"Call {item.call_id} of {'the function' if isinstance(item, FunctionCall) else 'the tool'} {item.name}"
    if isinstance(item, ToolOutput):
        return f"Output of call {item.call_id}"
    return item.role.capitalize()


def _check_calls(given: Sequence[InputItem]) -> None:
    """Every output needs an earlier call of its kind with the same id, and a call has at most one output."""
    waiting: dict[tuple[str, str], bool] = {}
    for index, item in enumerate(given):
        where = f"input[{index}].call_id"
        if isinstance(item, FunctionCall | CustomToolCall):
            if (item.type, item.call_id) in waiting:
                raise invalid(where, f"an earlier call has the id {item.call_id!r}, too")
            waiting[item.type, item.call_id] = True
        elif isinstance(item, ToolOutput):
            key = (item.type.removesuffix("_output"), item.call_id)
            if not waiting.get(key):
                raise invalid(where, f"no earlier call without an output has the id {item.call_id!r}")
            waiting[key] = False


def breakpoints(given: str | Sequence[InputItem]) -> int:
    """The number of cache breakpoints."""
    marked = 0
    for item in () if isinstance(given, str) else given:
        content = (
            "" if isinstance(item, ToolCallItem) else item.output if isinstance(item, ToolOutput) else item.content
        )
        parts: Sequence[AnyPart] = () if isinstance(content, str) else content
        marked += sum(isinstance(part, TextInput | ImageInput) and bool(part.prompt_cache_breakpoint) for part in parts)
    return marked


def _json_text(data: JsonValue | list[dict[str, JsonValue]], param: str) -> str:
    """Compact JSON, within OpenAI's limits."""
    level: list[Any] = [data]
    values = 0
    for _ in range(MAX_JSON_LEVELS + 1):
        values += len(level)
        level = [child for one in level for child in _children(one)]
        if not level or values > MAX_JSON_VALUES:
            break
    else:
        raise invalid(param, f"must have at most {MAX_JSON_LEVELS} nested levels")
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    if values > MAX_JSON_VALUES or len(text.encode()) > MAX_JSON_BYTES:
        raise invalid(param, f"must have at most {MAX_JSON_VALUES:,} values and {MAX_JSON_BYTES:,} bytes of JSON")
    return text


def _children(value: JsonValue) -> Sequence[JsonValue]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()
