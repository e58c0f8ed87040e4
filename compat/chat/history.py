"""Earlier messages of a chat, as any client or server wrote them, in the form that `ChatMessage` accepts.

What the caller asks for is checked strictly: the messages of users, system and developer after the last answer of the
assistant. All others were said before, cannot be changed any more, and are never refused: what cannot be read is
dropped.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

MAX_MESSAGES = 4096
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
REASONING = ("reasoning", "thinking", "redacted_thinking")
"""Types of content parts that repeat an assistant's reasoning."""
_TEXT_TYPES = (None, "text", "input_text", "output_text")


def first_asked(messages: list[Any]) -> int:
    """Index of the first message after the assistant's last one."""
    answers = [at for at, message in enumerate(messages) if _field(message, "role") == "assistant"]
    return answers[-1] + 1 if answers else 0


def readable(messages: Any) -> Any:
    """The messages with those that were said before in the form of `ChatMessage`; the others unchanged."""
    if not isinstance(messages, list) or len(cast(list[Any], messages)) > MAX_MESSAGES:
        return messages  # pyright: ignore[reportUnknownVariableType] - JSON
    given = cast(list[Any], messages)
    asked_from = first_asked(given)
    waiting: list[tuple[str, str]] = []
    """Ids and names of calls without a result so far."""
    read: list[Any] = []
    for at, message in enumerate(given):
        role = _field(message, "role")
        if role not in ROLES or (at >= asked_from and role not in ("tool", "function")):
            read.append(message)
        else:
            read.append(_earlier(message, role, at, waiting))
    return read


def _earlier(message: Mapping[str, Any], role: str, at: int, waiting: list[tuple[str, str]]) -> dict[str, Any]:
    read: dict[str, Any] = {
        "role": "tool" if role == "function" else role,
        "content": earlier_content(message.get("content")),
    }
    name = message.get("name")
    if isinstance(name, str):
        read["name"] = name[:256]
    if role in ("tool", "function"):
        read["tool_call_id"] = _answered(message, waiting)
    if role == "assistant":
        calls = [*_list(message.get("tool_calls")), *_list(message.get("function_call"))]
        read["tool_calls"] = [call for n, one in enumerate(calls) if (call := _call(one, f"call_{at}_{n}")) is not None]
        waiting.extend((call["id"], call["function"]["name"]) for call in read["tool_calls"])
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        if isinstance(reasoning, str):
            read["reasoning_content"] = reasoning
        spoken = message.get("refusal") or _field(message.get("audio"), "transcript")
        if isinstance(spoken, str) and not read["content"]:
            read["content"] = spoken
    return read


def _answered(message: Mapping[str, Any], waiting: list[tuple[str, str]]) -> str:
    """The id of the call that a result belongs to: its own, or that of the first waiting call, if possible by name."""
    given, name = message.get("tool_call_id"), message.get("name")
    found = next((one for one in waiting if given and one[0] == given), None)
    if found is None and not given:
        found = next((one for one in waiting if one[1] == name), waiting[0] if waiting else None)
    if found is not None:
        waiting.remove(found)
        return found[0]
    return given if isinstance(given, str) else ""


def _call(call: Any, missing_id: str) -> dict[str, Any] | None:
    """A call of any form: of a function, of a custom tool, or a bare name and arguments."""
    if not isinstance(call, dict):
        return None
    given = cast(dict[str, Any], call)
    inner: Any = given.get("function") or given.get("custom") or given
    name = _field(inner, "name")
    if not isinstance(name, str) or not name:
        return None
    arguments: Any = inner.get("arguments")
    if arguments is None and "input" in inner:
        arguments = {"input": inner["input"]}
    if not isinstance(arguments, str):
        arguments = as_text({} if arguments is None else arguments)
    call_id = given.get("id")
    return {
        "id": call_id if isinstance(call_id, str) and call_id else missing_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def earlier_content(content: Any) -> Any:
    """Content as a text, or as a list of text and image parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        return [earlier_part(part) for part in cast(list[Any], content)]
    return [earlier_part(content)] if _field(content, "type") is not None else as_text(content)


def earlier_part(part: Any) -> dict[str, Any]:
    """A content part as a text or an image; an unknown one as its type in brackets."""
    if not isinstance(part, dict):
        return _text(part if isinstance(part, str) else as_text(part))
    given = cast(dict[str, Any], part)
    kind, text = given.get("type"), given.get("text")
    if kind in _TEXT_TYPES and isinstance(text, str):
        return _text(text)
    if kind == "refusal":
        return _text(str(given.get("refusal") or ""))
    if isinstance(kind, str) and kind in ("image_url", "input_image", "image", "file", "input_file"):
        return _image(given) or _text("[image]" if "image" in kind else "[file]")
    return _text(f"[{kind[:64]}]" if isinstance(kind, str) and kind not in (*REASONING, *_TEXT_TYPES) else "")


def _image(part: Mapping[str, Any]) -> dict[str, Any] | None:
    source = part.get("image_url")
    url = _field(source, "url") if isinstance(source, dict) else source
    if isinstance(url, str):
        return {"type": "image_url", "image_url": {"url": url}}
    file: Any = part.get("file") or part
    for name in ("file_id", "file_data"):
        if isinstance(_field(file, name), str):
            return {"type": "file", "file": {name: file[name]}}
    return None


def as_text(value: Any) -> str:
    """Any JSON as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _list(value: Any) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else [value]


def _field(value: Any, name: str) -> Any:
    return cast(dict[str, Any], value).get(name) if isinstance(value, dict) else None
