"""From stored items to messages, and where a conversation that is too long may be cut."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.base import Media, Message, Part, TextPart, ToolCall
from compat.media import Reference, earlier_image, image_part, parse_image_url
from compat.responses.history import is_answer
from compat.responses.input import Item
from compat.tools import INPUT


@dataclass(slots=True)
class _Turn:
    """An assistant's turn that is still being collected: reasoning, then text, then calls."""

    reasoning: list[str] = field(default_factory=list[str])
    content: tuple[Part, ...] = ()
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    has_content: bool = False

    def message(self) -> Message:
        return Message("assistant", self.content, tuple(self.calls), reasoning="\n".join(self.reasoning))


def conversation(instructions: str | None, items: Sequence[Item]) -> tuple[Message, ...]:
    """The messages that items represent. References among them must have been resolved.

    Args:
        instructions: Sent first, as a system message.
        items: Oldest first.

    Raises:
        RequestError: An invalid image in a message after the last answer.
    """
    messages = [] if instructions is None else [Message("system", (TextPart(instructions),))]
    answers = [at for at, item in enumerate(items) if is_answer(item.wire)]
    asked_from = answers[-1] + 1 if answers else 0
    turn = _Turn()

    def end_turn() -> None:
        nonlocal turn
        if turn.has_content or turn.calls:
            messages.append(turn.message())
        turn = _Turn()

    for at, item in enumerate(items):
        wire = item.wire or {}
        match wire.get("type"):
            case "reasoning":
                if turn.has_content or turn.calls:
                    end_turn()
                turn.reasoning += [part["text"] for part in wire.get("content") or wire["summary"]]
            case "function_call" | "custom_tool_call":
                turn.calls.append(ToolCall(wire["call_id"], wire["name"], _arguments(wire), len(turn.calls)))
            case "function_call_output" | "custom_tool_call_output":
                end_turn()
                output = wire["output"]
                content = (TextPart(output),) if isinstance(output, str) else _parts(output, item.param, earlier=True)
                messages.append(Message("tool", content, tool_call_id=wire["call_id"]))
            case _ if wire["role"] == "assistant":
                if turn.has_content or turn.calls:
                    end_turn()
                turn.content, turn.has_content = _parts(wire["content"], item.param, earlier=True), True
            case _:
                end_turn()
                content = _parts(wire["content"], item.param, earlier=at < asked_from)
                messages.append(Message(wire["role"], content))
    end_turn()
    return tuple(messages)


def _arguments(wire: dict[str, Any]) -> str:
    return json.dumps({INPUT: wire["input"]}, ensure_ascii=False) if "input" in wire else wire["arguments"]


def _parts(content: Sequence[dict[str, Any]], param: str, *, earlier: bool) -> tuple[Part, ...]:
    parts: list[Part] = []
    for index, part in enumerate(content):
        if part["type"] == "input_image":
            where = f"{param}.content[{index}]"
            with earlier_image(parts, earlier=earlier):
                if (file_id := part.get("file_id")) is not None:
                    image: Media = Reference("", file_id=file_id, param=f"{where}.file_id")
                else:
                    image = parse_image_url(part["image_url"], param=f"{where}.image_url")
                parts.append(image_part(image, part["detail"], earlier=earlier))
        else:
            parts.append(TextPart(part["refusal"] if part["type"] == "refusal" else part["text"]))
    return tuple(parts)


def cuts(messages: Sequence[Message]) -> list[int]:
    """Where a conversation that is too long may start, shortest cut first: at its later turns.

    A turn starts with a user message, so that no answer loses its question and no output its call.
    """
    return [index for index, message in enumerate(messages) if message.role == "user"][1:]


def shortened(messages: Sequence[Message], start: int) -> tuple[Message, ...]:
    """The system and developer messages before the first turn, and the conversation from `start` on."""
    first = next(index for index, message in enumerate(messages) if message.role == "user")
    head = tuple(message for message in messages[:first] if message.role in ("system", "developer"))
    return (*head, *messages[start:])
