"""The `input` of a decision: OpenAI's items, and the evidence that they are to a model."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from adapters.base import Part, TextPart
from compat.errors import RequestError
from compat.media import Detail, parse_image_url, shown
from compat.responses.input import MAX_ITEMS, TEXT_OR_LIST, ItemId, OutputRefusal, Phase, Status
from compat.wire import WireRequest

MAX_JSON_LEVELS = 32
MAX_JSON_VALUES = 10_000
MAX_JSON_BYTES = 256 * 1024
MAX_BREAKPOINTS = 4
"""All as OpenAI has them."""

CallId = Annotated[str, Field(min_length=1, max_length=256)]


class CacheBreakpoint(WireRequest):
    """Where a prefix that comes again ends. Every prefix is cached here, so it is heeded by doing nothing."""

    mode: Literal["explicit"]


class QuestionText(WireRequest):
    """A piece of text, of a question."""

    type: Literal["input_text"]
    text: str


class QuestionImage(WireRequest):
    """An image, of a question."""

    type: Literal["input_image"]
    image_url: str
    detail: Detail | None = None


class TextInput(QuestionText):
    """A piece of text."""

    prompt_cache_breakpoint: CacheBreakpoint | None = None


class ImageInput(QuestionImage):
    """An image."""

    prompt_cache_breakpoint: CacheBreakpoint | None = None


class JsonInput(WireRequest):
    """An object, or a list of objects, that is shown as text."""

    type: Literal["input_json"]
    data: dict[str, JsonValue] | list[dict[str, JsonValue]]


class SaidText(WireRequest):
    """A piece of text that a model said."""

    type: Literal["output_text"]
    text: str


UserPart = Annotated[TextInput | ImageInput | JsonInput, Field(discriminator="type")]
ToolPart = Annotated[TextInput | ImageInput, Field(discriminator="type")]
SaidPart = Annotated[SaidText | OutputRefusal, Field(discriminator="type")]
QuestionPart = Annotated[QuestionText | QuestionImage | JsonInput, Field(discriminator="type")]
AnyPart = QuestionText | QuestionImage | JsonInput | SaidText | OutputRefusal
_Text = Annotated[str, Tag("as_text")]


class UserMessage(WireRequest):
    """What a user said and showed."""

    type: Literal["message"] | None = None
    role: Literal["user"]
    content: Annotated[
        _Text | Annotated[list[UserPart], Field(max_length=MAX_ITEMS, fail_fast=True), Tag("as_list")], TEXT_OR_LIST
    ]


class InstructingMessage(WireRequest):
    """What a developer or a system said."""

    type: Literal["message"] | None = None
    role: Literal["developer", "system"]
    content: Annotated[
        _Text | Annotated[list[TextInput], Field(max_length=MAX_ITEMS, fail_fast=True), Tag("as_list")], TEXT_OR_LIST
    ]


class AssistantMessage(WireRequest):
    """What an assistant said."""

    type: Literal["message"] | None = None
    role: Literal["assistant"]
    content: Annotated[
        _Text | Annotated[list[SaidPart], Field(max_length=MAX_ITEMS, fail_fast=True), Tag("as_list")], TEXT_OR_LIST
    ]
    phase: Phase | None = None


class CalledTool(WireRequest):
    """What the calls of functions and of custom tools share."""

    call_id: CallId
    name: Annotated[str, Field(min_length=1, max_length=256)]
    id: ItemId | None = None
    namespace: Annotated[str, Field(max_length=256)] | None = None
    status: Status | None = None


class FunctionCall(CalledTool):
    """A function that was called."""

    type: Literal["function_call"]
    arguments: str


class CustomToolCall(CalledTool):
    """A custom tool that was called."""

    type: Literal["custom_tool_call"]
    input: str


class ToolOutput(WireRequest):
    """What a called tool gave back."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: CallId
    output: Annotated[
        _Text | Annotated[list[ToolPart], Field(max_length=MAX_ITEMS, fail_fast=True), Tag("as_list")], TEXT_OR_LIST
    ]
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
    | Annotated[InstructingMessage, Tag("instructing")]
    | Annotated[AssistantMessage, Tag("assistant")]
    | Annotated[FunctionCall, Tag("function")]
    | Annotated[CustomToolCall, Tag("custom")]
    | Annotated[ToolOutput, Tag("output")],
    Discriminator(
        _kind,
        custom_error_type="item_type",
        custom_error_message="an item is a message of a user, developer, system or assistant, or one of "
        "function_call, function_call_output, custom_tool_call and custom_tool_call_output",
    ),
]
DecisionInput = Annotated[
    _Text | Annotated[list[InputItem], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True), Tag("as_list")],
    TEXT_OR_LIST,
]


def evidence(given: str | Sequence[InputItem]) -> tuple[Part, ...]:
    """What is to be judged, in order: one user's message as it is; more as a transcript that says who said what.

    Raises:
        RequestError: An output without its call, an unusable image, or too large a JSON.
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
    """The parts of one content, as the seam has them."""
    found: list[Part] = []
    for index, part in enumerate(content):
        where = f"{param}[{index}]"
        if isinstance(part, QuestionImage):
            found.append(shown(parse_image_url(part.image_url, param=f"{where}.image_url"), part.detail))
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
    if isinstance(item, CalledTool):
        return f"Call {item.call_id} of {'the function' if isinstance(item, FunctionCall) else 'the tool'} {item.name}"
    if isinstance(item, ToolOutput):
        return f"Output of call {item.call_id}"
    return item.role.capitalize()


def _check_calls(given: Sequence[InputItem]) -> None:
    """Every output follows a call of its kind that bears its id, and is the only one to do so."""
    waiting: dict[tuple[str, str], bool] = {}
    for index, item in enumerate(given):
        where = f"input[{index}].call_id"
        if isinstance(item, FunctionCall | CustomToolCall):
            if (item.type, item.call_id) in waiting:
                raise RequestError(f"Two calls bear the id {item.call_id!r}.", param=where)
            waiting[item.type, item.call_id] = True
        elif isinstance(item, ToolOutput):
            key = (item.type.removesuffix("_output"), item.call_id)
            if not waiting.get(key):
                raise RequestError(f"No tool call waits for an output with call_id {item.call_id!r}.", param=where)
            waiting[key] = False


def breakpoints(given: str | Sequence[InputItem]) -> int:
    """How many ends of reusable prefixes are marked."""
    marked = 0
    for item in () if isinstance(given, str) else given:
        content = "" if isinstance(item, CalledTool) else item.output if isinstance(item, ToolOutput) else item.content
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
        raise RequestError(f"The JSON has more than {MAX_JSON_LEVELS} levels.", param=param)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    if values > MAX_JSON_VALUES or len(text.encode()) > MAX_JSON_BYTES:
        raise RequestError(f"The JSON has more than {MAX_JSON_VALUES} values or {MAX_JSON_BYTES} bytes.", param=param)
    return text


def _children(value: JsonValue) -> Sequence[JsonValue]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()
