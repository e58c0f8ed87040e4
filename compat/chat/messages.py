"""The messages of a conversation, from the wire to the seam."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from adapters.base import Media, Message, Part, TextPart, ToolCall
from compat.errors import RequestError
from compat.media import Detail, FileId, Reference, parse_data_url, parse_image_url, shown
from compat.wire import WireRequest


class TextContent(WireRequest):
    """A piece of text."""

    type: Literal["text"]
    text: str


class RefusalContent(WireRequest):
    """An assistant's earlier refusal; text like any other to the model."""

    type: Literal["refusal"]
    refusal: str


class ImageUrl(WireRequest):
    """Where an image is: a data URL, or one on the web where the operator allows it."""

    url: str
    detail: Detail | None = None


class ImageContent(WireRequest):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageUrl


class FileOfContent(WireRequest):
    """An uploaded file, or the bytes of one; images only."""

    file_id: FileId | None = None
    file_data: str | None = None
    """A data URL."""
    filename: Annotated[str, Field(max_length=1024)] | None = None
    """The caller's own label; nothing depends on it."""


class FileContent(WireRequest):
    """An image as a file."""

    type: Literal["file"]
    file: FileOfContent


Content = Annotated[TextContent | RefusalContent | ImageContent | FileContent, Field(discriminator="type")]


class CalledFunction(WireRequest):
    """Name and arguments of a call that the model made earlier."""

    name: str
    arguments: str


class MadeToolCall(WireRequest):
    """A call that the model made earlier."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class ChatMessage(WireRequest):
    """One message; which fields it may have depends on its role."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[Content], Field(max_length=4096, fail_fast=True)] | None = None
    tool_calls: Annotated[list[MadeToolCall], Field(max_length=128, fail_fast=True)] | None = None
    tool_call_id: str | None = None
    name: Annotated[str, Field(max_length=256)] | None = None
    """Who speaks, where several bear one role."""
    refusal: str | None = None
    reasoning_content: str | None = None
    """What the assistant thought, as this server's answers hold it."""
    annotations: None = None
    audio: None = None
    function_call: None = None
    """Null in every answer that a client's `message.model_dump()` hands back."""


def parse_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The conversation as the seam has it.

    Raises:
        RequestError: A field does not go with its message's role, or an image is unusable.
    """
    return tuple(_message(one, f"messages[{index}]") for index, one in enumerate(messages))


def _message(wire: ChatMessage, param: str) -> Message:
    if wire.content is None and (wire.role != "assistant" or not (wire.tool_calls or wire.refusal)):
        raise RequestError(f"Missing required parameter: '{param}.content'.", param=f"{param}.content")
    if wire.tool_calls and wire.role != "assistant":
        raise RequestError("Only an assistant's message holds tool_calls.", param=f"{param}.tool_calls")
    if (wire.tool_call_id is not None) != (wire.role == "tool"):
        raise RequestError("A tool's message, and only that, names its tool_call_id.", param=f"{param}.tool_call_id")
    content = _content(wire.content, wire.role, f"{param}.content")
    if wire.refusal:
        content = (*content, TextPart(wire.refusal))
    calls = tuple(
        ToolCall(call.id, call.function.name, call.function.arguments, index)
        for index, call in enumerate(wire.tool_calls or [])
    )
    if wire.reasoning_content and wire.role != "assistant":
        raise RequestError("Only an assistant's message holds thoughts.", param=f"{param}.reasoning_content")
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
            raise RequestError("Only a user's message holds images.", param=f"{param}[{index}]")
        elif isinstance(part, FileContent):
            parts.append(shown(_file(part.file, f"{param}[{index}].file"), None))
        else:
            image = parse_image_url(part.image_url.url, param=f"{param}[{index}].image_url.url")
            parts.append(shown(image, part.image_url.detail))
    return tuple(parts)


def _file(file: FileOfContent, param: str) -> Media:
    if (file.file_id is None) == (file.file_data is None):
        raise RequestError(f"Send one of '{param}.file_id' and '{param}.file_data'.", param=param)
    if file.file_id is not None:
        return Reference("", file_id=file.file_id, param=f"{param}.file_id")
    return parse_data_url(file.file_data or "", param=f"{param}.file_data")
