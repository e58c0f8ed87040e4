"""The `input` of a response: OpenAI's items, and the form in which they are stored.

An item is stored as the JSON object that `GET /v1/responses/{id}/input_items` returns: complete, with its id. A
conversation is built from such objects only, from this request or stored with an earlier one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from compat.errors import invalid
from compat.media import Detail, FileId
from compat.responses.history import MAX_ITEMS, readable
from compat.wire import WireRequest, new_id

ItemId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
Status = Literal["in_progress", "completed", "incomplete"]
Phase = Literal["commentary", "final_answer"]


class InputText(WireRequest):
    """A text for the model."""

    type: Literal["input_text"]
    text: str
    prompt_cache_breakpoint: Any = None
    """Has no effect, since every prefix is cached."""


class InputImage(WireRequest):
    """An image for the model."""

    type: Literal["input_image"]
    image_url: str | None = None
    """A data URL, or a remote one if the operator allows it."""
    file_id: FileId | None = None
    detail: Detail | None = None
    prompt_cache_breakpoint: Any = None
    """Has no effect, since every prefix is cached."""


class OutputText(WireRequest):
    """A text from a model."""

    type: Literal["output_text"]
    text: str
    annotations: Annotated[list[dict[str, Any]], Field(max_length=1024, fail_fast=True)] | None = None
    logprobs: Annotated[list[Any], Field(fail_fast=True)] | None = None
    """As in a reply; the model does not read them."""


class OutputRefusal(WireRequest):
    """A refusal from a model, read as text."""

    type: Literal["refusal"]
    refusal: str


Content = Annotated[InputText | InputImage | OutputText | OutputRefusal, Field(discriminator="type")]


OutputPart = Annotated[InputText | InputImage, Field(discriminator="type")]


class MessageItem(WireRequest):
    """One message of any role: OpenAI's "easy" input message, input message or output message."""

    type: Literal["message"] | None = None
    role: Literal["user", "assistant", "system", "developer"]
    content: str | Annotated[list[Content], Field(max_length=MAX_ITEMS, fail_fast=True)]
    id: ItemId | None = None
    status: Status | None = None
    phase: Phase | None = None


class CallItem(WireRequest):
    """What calls of functions and of custom tools have in common."""

    call_id: Annotated[str, Field(min_length=1, max_length=256)]
    name: Annotated[str, Field(min_length=1, max_length=256)]
    namespace: Annotated[str, Field(max_length=256)] | None = None
    id: ItemId | None = None
    status: Status | None = None


class FunctionCallItem(CallItem):
    """A model's call of a function."""

    type: Literal["function_call"]
    arguments: str


class CustomToolCallItem(CallItem):
    """A model's call of a custom tool."""

    type: Literal["custom_tool_call"]
    input: str


class CallOutputItem(WireRequest):
    """The output of a function or of a custom tool."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: Annotated[str, Field(min_length=1, max_length=256)]
    output: str | Annotated[list[OutputPart], Field(max_length=MAX_ITEMS, fail_fast=True)]
    id: ItemId | None = None
    status: Status | None = None


class IgnoredItem(WireRequest):
    """An earlier item that no model can read."""

    type: Literal["ignored"]


class SummaryText(WireRequest):
    """A summary of a model's reasoning."""

    type: Literal["summary_text"]
    text: str


class ReasoningText(WireRequest):
    """A part of a model's reasoning."""

    type: Literal["reasoning_text"]
    text: str


class ReasoningItem(WireRequest):
    """A model's reasoning."""

    type: Literal["reasoning"]
    summary: Annotated[list[SummaryText], Field(max_length=MAX_ITEMS, fail_fast=True)]
    content: Annotated[list[ReasoningText], Field(max_length=MAX_ITEMS, fail_fast=True)] | None = None
    id: ItemId | None = None
    status: Status | None = None


class ItemReference(WireRequest):
    """A reference to an item of a stored response."""

    type: Literal["item_reference"] | None = None
    id: ItemId


def _kind(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    kind = value.get("type")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - JSON
    if kind is None:
        return "message" if "role" in value or "content" in value else "item_reference"
    if kind == "custom_tool_call_output":
        return "function_call_output"
    return kind if kind in KINDS else None  # pyright: ignore[reportUnknownVariableType] - JSON


KINDS = (
    "message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "reasoning",
    "item_reference", "ignored",
)  # fmt: skip
InputItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[CustomToolCallItem, Tag("custom_tool_call")]
    | Annotated[CallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[ItemReference, Tag("item_reference")]
    | Annotated[IgnoredItem, Tag("ignored")],
    Discriminator(
        _kind,
        custom_error_type="item_type",
        custom_error_message=f"must be one of {', '.join(map(repr, KINDS[:-1]))}",
    ),
]
ResponseInput = Annotated[
    str | Annotated[list[InputItem], Field(max_length=MAX_ITEMS, fail_fast=True)], BeforeValidator(readable)
]


@dataclass(frozen=True, slots=True)
class Item:
    """An item in its stored form, or the id of one to look up."""

    id: str
    wire: dict[str, Any] | None
    """None for a reference."""
    param: str
    """Its path in the request, for errors: "input[3]"."""


def parse_input(given: str | Sequence[InputItem] | None) -> tuple[Item, ...]:
    """The items of a request, each with its own id.

    Raises:
        RequestError: A reference comes twice, or a part is not allowed for its message's role.
    """
    if given is None:
        return ()
    if isinstance(given, str):
        given = [MessageItem(role="user", content=given)]
    items: list[Item] = []
    known: set[str] = set()
    for index, one in enumerate(given):
        if isinstance(one, IgnoredItem):
            continue
        if one.id is not None and one.id in known:
            if isinstance(one, ItemReference):
                reason = f"an earlier item has the id '{one.id}', too"
                raise invalid(f"input[{index}].id", reason, code="duplicate_item")
            one = one.model_copy(update={"id": None})
        items.append(_item(one, f"input[{index}]"))
        known.add(items[-1].id)
    return tuple(items)


def _item(given: InputItem, param: str) -> Item:
    if isinstance(given, ItemReference):
        return Item(given.id, None, param)
    assert not isinstance(given, IgnoredItem)
    wire: dict[str, Any]
    if isinstance(given, MessageItem):
        wire = {"id": given.id or new_id("msg_"), "type": "message", "role": given.role}
        wire["content"] = _content(given, param)
        if given.phase is not None:
            wire["phase"] = given.phase
    elif isinstance(given, FunctionCallItem | CustomToolCallItem):
        is_custom = isinstance(given, CustomToolCallItem)
        wire = {"id": given.id or new_id("ctc_" if is_custom else "fc_"), "type": given.type, "call_id": given.call_id}
        wire["name"] = given.name
        wire |= {"input": given.input} if isinstance(given, CustomToolCallItem) else {"arguments": given.arguments}
        if given.namespace is not None:
            wire["namespace"] = given.namespace
    elif isinstance(given, CallOutputItem):
        output = given.output if isinstance(given.output, str) else [_output_part(part) for part in given.output]
        prefix = "fco_" if given.type == "function_call_output" else "ctco_"
        wire = {"id": given.id or new_id(prefix), "type": given.type, "call_id": given.call_id, "output": output}
    else:
        wire = {"id": given.id or new_id("rs_"), "type": given.type}
        wire["summary"] = [{"type": part.type, "text": part.text} for part in given.summary]
        wire["content"] = [{"type": part.type, "text": part.text} for part in given.content or ()]
    wire["status"] = given.status or "completed"
    return Item(wire["id"], wire, param)


def _output_part(part: OutputPart) -> dict[str, Any]:
    if isinstance(part, InputText):
        return _text(part.text)
    return {"type": part.type, "file_id": part.file_id, "image_url": part.image_url, "detail": part.detail or "auto"}


def _text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def _content(message: MessageItem, param: str) -> list[dict[str, Any]]:
    is_output = message.role == "assistant"
    if isinstance(message.content, str):
        text = message.content
        return [{"type": "output_text", "text": text, "annotations": []}] if is_output else [_text(text)]
    parts: list[dict[str, Any]] = []
    for index, part in enumerate(message.content):
        here = f"{param}.content[{index}]"
        if is_output != isinstance(part, OutputText | OutputRefusal):
            allowed = "'output_text' or 'refusal'" if is_output else "'input_text' or 'input_image'"
            raise invalid(f"{here}.type", f"must be {allowed} in a message with role '{message.role}'")
        if isinstance(part, InputText):
            parts.append(_text(part.text))
        elif isinstance(part, OutputText):
            parts.append({"type": part.type, "text": part.text, "annotations": part.annotations or []})
        elif isinstance(part, OutputRefusal):
            parts.append({"type": part.type, "refusal": part.refusal})
        else:
            parts.append(_image(part, message.role, here))
    return parts


def _image(part: InputImage, role: str, param: str) -> dict[str, Any]:
    if role != "user":
        raise invalid(param, "only messages with role 'user' may have images")
    if (part.image_url is None) == (part.file_id is None):
        raise invalid(param, "must have either 'image_url' or 'file_id'")
    if part.file_id is not None:
        return {"type": part.type, "file_id": part.file_id, "image_url": None, "detail": part.detail or "auto"}
    return {"type": part.type, "image_url": part.image_url, "detail": part.detail or "auto"}
