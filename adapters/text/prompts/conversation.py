"""Conversations in forms that chat templates can show: earlier turns are rewritten rather than refused."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from adapters.base import IMAGE_TEXT, ImagePart, Message, Part, TextPart, ToolCall
from adapters.text.prompts.control_tokens import ControlTokenEscaper
from adapters.text.prompts.images import PromptImages

SHORT_MESSAGES = 8
SHORT_CHARACTERS = 2000


def openai_message(message: Message, images: PromptImages, escaper: ControlTokenEscaper) -> dict[str, Any]:
    """The message as vLLM takes it: in OpenAI's form, with decoded images."""
    content: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, TextPart):
            content.append({"type": "text", "text": escaper.escape(part.text)})
        elif (image := images.get(id(part))) is None:
            content.append({"type": "text", "text": IMAGE_TEXT})
        else:
            content.append({"type": "image_pil", "image_pil": image.image, "uuid": image.digest})
    converted: dict[str, Any] = {"role": message.role, "content": content}
    if message.name:
        converted["name"] = escaper.escape(message.name)
    if message.reasoning:
        converted["reasoning"] = escaper.escape(message.reasoning)
    if len(content) == 1 and content[0]["type"] == "text":
        converted["content"] = content[0]["text"]
    if message.tool_calls:
        converted["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": escaper.escape(call.name),
                    "arguments": escaper.escape(object_arguments(call.arguments)),
                },
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        converted["tool_call_id"] = message.tool_call_id
    return converted


def object_arguments(arguments: str) -> str:
    """The arguments of a tool call as the JSON object that templates expect.

    Text that is not one, such as arguments that were cut off, becomes the member "arguments" of an object.
    """
    try:
        value = json.loads(arguments or "{}", parse_constant=str)
        if isinstance(value, str):  # encoded twice
            value = json.loads(value, parse_constant=str)
        if isinstance(value, dict):
            return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    return json.dumps({"arguments": arguments}, ensure_ascii=False)


def with_images_of_users(messages: Sequence[Message], images: PromptImages) -> tuple[Message, ...]:
    """The messages with the images of tool results in messages of users behind them, where templates show images."""
    shown: list[Message] = []
    for is_tool, group in groupby(messages, lambda message: message.role == "tool"):
        found: list[Part] = []
        for message in group:
            if is_tool:
                found += [part for part in message.content if id(part) in images]
                texts = [TextPart(IMAGE_TEXT) if isinstance(part, ImagePart) else part for part in message.content]
                message = replace(message, content=tuple(texts))
            shown.append(message)
        if found:
            shown.append(Message("user", tuple(found)))
    return tuple(shown)


def simpler(messages: Sequence[Message]) -> Iterator[tuple[Message, ...]]:
    """Forms of a conversation that strict templates accept, the nearest first.

    First: one system message, then turns of user and assistant in alternation, with calls and results of tools as
    text. Then: the same without a system message, which the first turn of the user then contains.
    """
    system = [part for message in messages if message.role in ("system", "developer") for part in message.content]
    turns: list[Message] = []
    for message in messages:
        if message.role in ("system", "developer"):
            continue
        role = "assistant" if message.role == "assistant" else "user"
        parts = [*message.content, *map(TextPart, map(_call_text, message.tool_calls))]
        if turns and turns[-1].role == role:
            turns[-1] = replace(turns[-1], content=_joined([*turns[-1].content, *parts]))
        else:
            turns.append(Message(role, _joined(parts), reasoning=message.reasoning))
    if not turns or turns[0].role == "assistant":
        turns.insert(0, Message("user", (TextPart(""),)))
    if system:
        yield (Message("system", _joined(system)), *turns)
    yield (replace(turns[0], content=_joined([*system, *turns[0].content])), *turns[1:])


def _call_text(call: ToolCall) -> str:
    return f'{{"name": {json.dumps(call.name, ensure_ascii=False)}, "arguments": {call.arguments or "{}"}}}'


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts, with consecutive texts as one."""
    joined: list[Part] = []
    for part in parts:
        if joined and isinstance(part, TextPart) and isinstance(before := joined[-1], TextPart):
            joined[-1] = TextPart("\n".join(filter(None, (before.text, part.text))))
        else:
            joined.append(part)
    return tuple(joined)


def is_short(messages: Sequence[Message], tools: Sequence[object]) -> bool:
    """Whether a conversation can be rendered and tokenized in a few tenths of a millisecond."""
    if tools or len(messages) > SHORT_MESSAGES:
        return False
    left = SHORT_CHARACTERS
    for message in messages:
        for part in message.content:
            if isinstance(part, ImagePart):
                return False
            left -= len(part.text)
    return left >= 0
