"""The `input` of a response: OpenAI's items, the form in which they are kept, and the conversation that they make.

An item is kept as the JSON object that `GET /v1/responses/{id}/input_items` shows: whole, with its id. A conversation
is built from such objects only, whether they came with this request or were stored with an earlier one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from compat.errors import RequestError
from compat.media import Detail, FileId
from compat.wire import WireRequest, new_id

MAX_ITEMS = 4096
ItemId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
Status = Literal["in_progress", "completed", "incomplete"]
Phase = Literal["commentary", "final_answer"]


class InputText(WireRequest):
    """A piece of text that is said to the model."""

    type: Literal["input_text"]
    text: str
    prompt_cache_breakpoint: None = None


class InputImage(WireRequest):
    """An image that is shown to the model."""

    type: Literal["input_image"]
    image_url: str | None = None
    """A data URL, or one on the web where the operator allows it."""
    file_id: FileId | None = None
    detail: Detail | None = None
    prompt_cache_breakpoint: None = None


class OutputText(WireRequest):
    """A piece of text that a model said."""

    type: Literal["output_text"]
    text: str
    annotations: Annotated[list[dict[str, Any]], Field(max_length=1024, fail_fast=True)] | None = None
    logprobs: Annotated[list[Any], Field(fail_fast=True)] | None = None
    """As an answer carries them; of no use to a model that reads it again."""


class OutputRefusal(WireRequest):
    """A refusal that a model said; text like any other to the next one."""

    type: Literal["refusal"]
    refusal: str


Content = Annotated[InputText | InputImage | OutputText | OutputRefusal, Field(discriminator="type")]


def _text_or_list(value: Any) -> str | None:
    return "as_text" if isinstance(value, str) else "as_list" if isinstance(value, list) else None


TEXT_OR_LIST = Discriminator(
    _text_or_list, custom_error_type="text_or_list", custom_error_message="it must be a string or a list"
)


class MessageItem(WireRequest):
    """One turn, of any role; as OpenAI's "easy" input message, input message item or output message."""

    type: Literal["message"] | None = None
    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[
        Annotated[str, Tag("as_text")]
        | Annotated[list[Content], Field(max_length=MAX_ITEMS, fail_fast=True), Tag("as_list")],
        TEXT_OR_LIST,
    ]
    id: ItemId | None = None
    status: Status | None = None
    phase: Phase | None = None


class FunctionCallItem(WireRequest):
    """A call that a model asked for."""

    type: Literal["function_call"]
    call_id: Annotated[str, Field(min_length=1, max_length=256)]
    name: Annotated[str, Field(min_length=1, max_length=256)]
    arguments: str
    id: ItemId | None = None
    status: Status | None = None
    async_: Annotated[Literal[False] | None, Field(alias="async")] = None
    dumped_async: Annotated[None, Field(alias="async_")] = None
    """The same null, as the SDK's `model_dump()` writes it."""
    caller: None = None
    namespace: None = None


class FunctionCallOutputItem(WireRequest):
    """What a called function gave back."""

    type: Literal["function_call_output"]
    call_id: Annotated[str, Field(min_length=1, max_length=256)]
    output: Annotated[
        Annotated[str, Tag("as_text")]
        | Annotated[list[InputText], Field(max_length=MAX_ITEMS, fail_fast=True), Tag("as_list")],
        TEXT_OR_LIST,
    ]
    id: ItemId | None = None
    status: Status | None = None
    name: Annotated[str, Field(max_length=256)] | None = None
    caller: None = None
    namespace: None = None


class SummaryText(WireRequest):
    """A piece of what a model's thoughts amount to."""

    type: Literal["summary_text"]
    text: str


class ReasoningText(WireRequest):
    """A piece of what a model thought."""

    type: Literal["reasoning_text"]
    text: str


class ReasoningItem(WireRequest):
    """What a model thought before it went on."""

    type: Literal["reasoning"]
    summary: Annotated[list[SummaryText], Field(max_length=MAX_ITEMS, fail_fast=True)]
    content: Annotated[list[ReasoningText], Field(max_length=MAX_ITEMS, fail_fast=True)] | None = None
    encrypted_content: None = None
    """Only the service that encrypted it can read it."""
    id: ItemId | None = None
    status: Status | None = None


class ItemReference(WireRequest):
    """An item that is stored with an earlier response."""

    type: Literal["item_reference"] | None = None
    id: ItemId


def _kind(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    kind = value.get("type")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - JSON
    if kind is None:
        return "message" if "role" in value or "content" in value else "item_reference"
    return kind if kind in KINDS else None  # pyright: ignore[reportUnknownVariableType] - JSON


KINDS = ("message", "function_call", "function_call_output", "reasoning", "item_reference")
InputItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionCallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[ItemReference, Tag("item_reference")],
    Discriminator(
        _kind,
        custom_error_type="item_type",
        custom_error_message=f"this server takes items of the types {', '.join(KINDS)}",
    ),
]
ResponseInput = Annotated[
    Annotated[str, Tag("as_text")]
    | Annotated[list[InputItem], Field(max_length=MAX_ITEMS, fail_fast=True), Tag("as_list")],
    TEXT_OR_LIST,
]


@dataclass(frozen=True, slots=True)
class Item:
    """An item in the form that is kept, or the id of one that is to be looked up."""

    id: str
    wire: dict[str, Any] | None
    """None: a reference."""
    param: str
    """Where it came from, for errors: "input[3]"."""


def parse_input(given: str | Sequence[InputItem] | None) -> tuple[Item, ...]:
    """The items of a request, each with an id of its own.

    Raises:
        RequestError: Two bear the same id, or a part does not go with its message's role.
    """
    if given is None:
        return ()
    if isinstance(given, str):
        given = [MessageItem(role="user", content=given)]
    items = tuple(_item(one, f"input[{index}]") for index, one in enumerate(given))
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise RequestError(f"Two items bear the id {item.id!r}.", param=f"{item.param}.id", code="duplicate_item")
        seen.add(item.id)
    return items


def _item(given: InputItem, param: str) -> Item:
    if isinstance(given, ItemReference):
        return Item(given.id, None, param)
    wire: dict[str, Any]
    if isinstance(given, MessageItem):
        wire = {"id": given.id or new_id("msg_"), "type": "message", "role": given.role}
        wire["content"] = _content(given, param)
        if given.phase is not None:
            wire["phase"] = given.phase
    elif isinstance(given, FunctionCallItem):
        wire = {"id": given.id or new_id("fc_"), "type": given.type, "call_id": given.call_id}
        wire |= {"name": given.name, "arguments": given.arguments}
    elif isinstance(given, FunctionCallOutputItem):
        output = given.output if isinstance(given.output, str) else [_text(part.text) for part in given.output]
        wire = {"id": given.id or new_id("fco_"), "type": given.type, "call_id": given.call_id, "output": output}
        if given.name is not None:
            wire["name"] = given.name
    else:
        wire = {"id": given.id or new_id("rs_"), "type": given.type}
        wire["summary"] = [{"type": part.type, "text": part.text} for part in given.summary]
        wire["content"] = [{"type": part.type, "text": part.text} for part in given.content or ()]
    wire["status"] = given.status or "completed"
    return Item(wire["id"], wire, param)


def _text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def _content(message: MessageItem, param: str) -> list[dict[str, Any]]:
    said = message.role == "assistant"
    if isinstance(message.content, str):
        text = message.content
        return [{"type": "output_text", "text": text, "annotations": []}] if said else [_text(text)]
    parts: list[dict[str, Any]] = []
    for index, part in enumerate(message.content):
        here = f"{param}.content[{index}]"
        if said != isinstance(part, OutputText | OutputRefusal):
            takes = "output_text and refusal" if said else "input_text and input_image"
            raise RequestError(
                f"Invalid '{here}': a message of the role {message.role!r} holds {takes} only.",
                param=here,
                code="invalid_value",
            )
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
        raise RequestError("Only a user's message holds images.", param=param)
    if (part.image_url is None) == (part.file_id is None):
        raise RequestError(f"Send one of '{param}.image_url' and '{param}.file_id'.", param=f"{param}.image_url")
    if part.file_id is not None:
        return {"type": part.type, "file_id": part.file_id, "image_url": None, "detail": part.detail or "auto"}
    return {"type": part.type, "image_url": part.image_url, "detail": part.detail or "auto"}
