"""From stored items to messages, and where a conversation that is too long may be cut."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.base import Media, Message, Part, TextPart, ToolCall
from compat.errors import RequestError
from compat.media import Reference, image_part, parse_image_url
from compat.responses.input import Item


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
        RequestError: A function's output without its call or a call without its output, or an invalid image.
    """
    messages = [] if instructions is None else [Message("system", (TextPart(instructions),))]
    turn = _Turn()
    waiting: dict[str, str] = {}
    """Calls without an output so far, to the items' paths."""

    def end_turn() -> None:
        nonlocal turn
        if turn.has_content or turn.calls:
            messages.append(turn.message())
        turn = _Turn()

    for item in items:
        wire = item.wire or {}
        match wire.get("type"):
            case "reasoning":
                if turn.has_content or turn.calls:
                    end_turn()
                turn.reasoning += [part["text"] for part in wire.get("content") or wire["summary"]]
            case "function_call":
                turn.calls.append(ToolCall(wire["call_id"], wire["name"], wire["arguments"], len(turn.calls)))
                waiting[wire["call_id"]] = item.param
            case "function_call_output":
                end_turn()
                messages.append(_answer(item, wire, waiting))
            case _ if wire["role"] == "assistant":
                if turn.has_content or turn.calls:
                    end_turn()
                turn.content, turn.has_content = _parts(wire["content"], item.param), True
            case _:
                end_turn()
                messages.append(Message(wire["role"], _parts(wire["content"], item.param)))
    end_turn()
    for call_id, param in waiting.items():
        raise RequestError(f"No tool output found for function call {call_id}.", param=_top(param))
    return tuple(messages)


def _top(param: str) -> str:
    return param.partition("[")[0]


def _answer(item: Item, wire: dict[str, Any], waiting: dict[str, str]) -> Message:
    if waiting.pop(wire["call_id"], None) is None:
        raise RequestError(
            f"No tool call found for function call output with call_id {wire['call_id']}.", param=_top(item.param)
        )
    output = wire["output"]
    parts = (TextPart(output),) if isinstance(output, str) else _parts(output, item.param)
    return Message("tool", parts, tool_call_id=wire["call_id"], name=wire.get("name", ""))


def _parts(content: Sequence[dict[str, Any]], param: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for index, part in enumerate(content):
        if part["type"] == "input_image":
            where = f"{param}.content[{index}]"
            if (file_id := part.get("file_id")) is not None:
                image: Media = Reference("", file_id=file_id, param=f"{where}.file_id")
            else:
                image = parse_image_url(part["image_url"], param=f"{where}.image_url")
            parts.append(image_part(image, part["detail"]))
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
