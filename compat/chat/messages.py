"""The messages of a conversation, from OpenAI's schema to the adapter contract."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from adapters.base import IMAGE_TEXT, ImagePart, Message, Part, TextPart, ToolCall
from compat.chat.history import MAX_MESSAGES, readable
from compat.errors import invalid, missing
from compat.media import Detail, FileId, Reference, earlier_image, image_part, parse_data_url, parse_image_url
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
    """One message. Those before the assistant's last answer have been made readable by `compat.chat.history`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[Content], Field(max_length=4096, fail_fast=True)] | None = None
    tool_calls: Annotated[list[MadeToolCall], Field(fail_fast=True)] | None = None
    tool_call_id: str | None = None
    name: Annotated[str, Field(max_length=256)] | None = None
    """Tells participants of the same role apart."""
    reasoning_content: str | None = None
    """The assistant's reasoning, as in this server's replies."""


ChatMessages = Annotated[
    list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True), BeforeValidator(readable)
]


def parse_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The conversation in the adapter contract.

    Raises:
        RequestError: A message that is not an earlier one has no content, or an invalid image.
    """
    answers = [at for at, message in enumerate(messages) if message.role == "assistant"]
    last = answers[-1] if answers else -1
    return tuple(
        _message(one, f"messages[{at}]", earlier=at <= last or one.role == "tool") for at, one in enumerate(messages)
    )


def _message(wire: ChatMessage, param: str, *, earlier: bool) -> Message:
    if wire.content is None and wire.role == "user":
        raise missing(f"{param}.content")
    content = _content(wire.content, wire.role, f"{param}.content", earlier=earlier)
    if wire.role != "assistant":
        return Message(wire.role, content, (), wire.tool_call_id or "", wire.name or "")
    calls = tuple(
        ToolCall(call.id, call.function.name, call.function.arguments, index)
        for index, call in enumerate(wire.tool_calls or [])
    )
    return Message(wire.role, content, calls, "", wire.name or "", wire.reasoning_content or "")


def _content(content: str | Sequence[Content] | None, role: str, param: str, *, earlier: bool) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextPart(content),)
    parts: list[Part] = []
    for index, part in enumerate(content):
        if isinstance(part, TextContent | RefusalContent):
            text = part.text if isinstance(part, TextContent) else part.refusal
            if text or not earlier:
                parts.append(TextPart(text))
        elif role not in ("user", "tool"):
            if not earlier:
                raise invalid(f"{param}[{index}]", "only messages with role 'user' may have images")
            parts.append(TextPart(IMAGE_TEXT))
        else:
            with earlier_image(parts, earlier=earlier):
                parts.append(_image(part, f"{param}[{index}]", earlier=earlier))
    return tuple(parts)


def _image(part: ImageContent | FileContent, param: str, *, earlier: bool) -> ImagePart:
    if isinstance(part, ImageContent):
        image = parse_image_url(part.image_url.url, param=f"{param}.image_url.url")
        return image_part(image, part.image_url.detail, earlier=earlier)
    file, param = part.file, f"{param}.file"
    if (file.file_id is None) == (file.file_data is None):
        raise invalid(param, "must have either 'file_id' or 'file_data'")
    if file.file_id is not None:
        return image_part(Reference("", file_id=file.file_id, param=f"{param}.file_id"), None, earlier=earlier)
    return image_part(parse_data_url(file.file_data or "", param=f"{param}.file_data"), None, earlier=earlier)
