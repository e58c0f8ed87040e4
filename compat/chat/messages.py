"""The messages of a conversation, from OpenAI's schema to the adapter contract."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from adapters.base import Media, Message, Part, TextPart, ToolCall
from compat.errors import invalid, missing
from compat.media import Detail, FileId, Reference, image_part, parse_data_url, parse_image_url
from compat.wire import WireRequest


class TextContent(WireRequest):
    """A text part."""

    type: Literal["text"]
    text: str


class RefusalContent(WireRequest):
    """An assistant's earlier refusal. The model reads it as text."""

    type: Literal["refusal"]
    refusal: str


class ImageUrl(WireRequest):
    """An image's URL: a data URL, or a remote one if the operator allows it."""

    url: str
    detail: Detail | None = None


class ImageContent(WireRequest):
    """An image part."""

    type: Literal["image_url"]
    image_url: ImageUrl


class FileOfContent(WireRequest):
    """An uploaded file, or a file's bytes. Images only."""

    file_id: FileId | None = None
    file_data: str | None = None
    """A data URL."""
    filename: Annotated[str, Field(max_length=1024)] | None = None
    """The caller's label; has no effect."""


class FileContent(WireRequest):
    """A file part: an image."""

    type: Literal["file"]
    file: FileOfContent


Content = Annotated[TextContent | RefusalContent | ImageContent | FileContent, Field(discriminator="type")]


class CalledFunction(WireRequest):
    """Name and arguments of an earlier tool call."""

    name: str
    arguments: str


class MadeToolCall(WireRequest):
    """An earlier tool call of the model."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class ChatMessage(WireRequest):
    """One message. Its role determines which fields it may have."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[Content], Field(max_length=4096, fail_fast=True)] | None = None
    tool_calls: Annotated[list[MadeToolCall], Field(max_length=128, fail_fast=True)] | None = None
    tool_call_id: str | None = None
    name: Annotated[str, Field(max_length=256)] | None = None
    """Tells participants of the same role apart."""
    refusal: str | None = None
    reasoning_content: str | None = None
    """The assistant's reasoning, as in this server's replies."""
    annotations: None = None
    audio: None = None
    function_call: None = None
    """Always null: a client's `message.model_dump()` contains them."""


def parse_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The conversation in the adapter contract.

    Raises:
        RequestError: A field is not allowed for its message's role, or an image is invalid.
    """
    return tuple(_message(one, f"messages[{index}]") for index, one in enumerate(messages))


def _message(wire: ChatMessage, param: str) -> Message:
    if wire.content is None and (wire.role != "assistant" or not (wire.tool_calls or wire.refusal)):
        raise missing(f"{param}.content")
    if wire.tool_calls and wire.role != "assistant":
        raise invalid(f"{param}.tool_calls", "only messages with role 'assistant' may have tool calls")
    if wire.tool_call_id is None and wire.role == "tool":
        raise missing(f"{param}.tool_call_id")
    if wire.tool_call_id is not None and wire.role != "tool":
        raise invalid(f"{param}.tool_call_id", "only messages with role 'tool' may have a tool call id")
    content = _content(wire.content, wire.role, f"{param}.content")
    if wire.refusal:
        content = (*content, TextPart(wire.refusal))
    calls = tuple(
        ToolCall(call.id, call.function.name, call.function.arguments, index)
        for index, call in enumerate(wire.tool_calls or [])
    )
    if wire.reasoning_content and wire.role != "assistant":
        raise invalid(f"{param}.reasoning_content", "only messages with role 'assistant' may have reasoning")
    return Message(wire.role, content, calls, wire.tool_call_id or "", wire.name or "", wire.reasoning_content or "")


def _content(content: str | Sequence[Content] | None, role: str, param: str) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextPart(content),)
    parts: list[Part] = []
    for index, part in enumerate(content):
        if isinstance(part, TextContent):
            parts.append(TextPart(part.text))
        elif isinstance(part, RefusalContent):
            parts.append(TextPart(part.refusal))
        elif role != "user":
            raise invalid(f"{param}[{index}]", "only messages with role 'user' may have images")
        elif isinstance(part, FileContent):
            parts.append(image_part(_file(part.file, f"{param}[{index}].file"), None))
        else:
            image = parse_image_url(part.image_url.url, param=f"{param}[{index}].image_url.url")
            parts.append(image_part(image, part.image_url.detail))
    return tuple(parts)


def _file(file: FileOfContent, param: str) -> Media:
    if (file.file_id is None) == (file.file_data is None):
        raise invalid(param, "must have either 'file_id' or 'file_data'")
    if file.file_id is not None:
        return Reference("", file_id=file.file_id, param=f"{param}.file_id")
    return parse_data_url(file.file_data or "", param=f"{param}.file_data")
