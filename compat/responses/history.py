"""Earlier items of a conversation, as any client or server wrote them, in the form of `compat.responses.input`.

As for chat (`compat.chat.history`): messages after the last answer are what the caller asks for, and checked strictly;
all other items were said before, and are never refused. An item that no model can read becomes an `IgnoredItem`, so
that the others keep their index.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from compat.chat.history import as_text, earlier_part
from compat.media import DETAILS

MAX_ITEMS = 4096
ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
IGNORED: dict[str, Any] = {"type": "ignored"}
_STATUSES = ("in_progress", "completed", "incomplete")
_UNREAD = frozenset({
    "compaction", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "program",
    "configuration_update", "additional_tools",
})  # fmt: skip
"""Types of items that only OpenAI's service reads, besides calls of its tools and their outputs."""


def readable(items: Any) -> Any:
    """The input with the items that were said before in the form of `InputItem`; the others unchanged."""
    if not isinstance(items, list) or len(cast(list[Any], items)) > MAX_ITEMS:
        return items  # pyright: ignore[reportUnknownVariableType] - JSON
    given = cast(list[Any], items)
    answers = [at for at, item in enumerate(given) if is_answer(item)]
    asked_from = answers[-1] + 1 if answers else 0
    return [_readable(item, at, earlier=at < asked_from) for at, item in enumerate(given)]


def is_answer(item: Any) -> bool:
    """Whether an item is a model's: its message, its reasoning or one of its calls."""
    if not isinstance(item, dict):
        return False
    given = cast(dict[str, Any], item)
    kind = given.get("type")
    is_message = kind in (None, "message") and given.get("role") == "assistant"
    return is_message or kind == "reasoning" or (isinstance(kind, str) and kind.endswith("_call"))


def _readable(item: Any, at: int, *, earlier: bool) -> Any:
    if not isinstance(item, dict):
        return item
    given = cast(dict[str, Any], item)
    kind, role = given.get("type"), given.get("role")
    if kind in (None, "message") and role == "tool":
        return _output({**given, "call_id": given.get("tool_call_id"), "output": given.get("content")}, at)
    if kind in (None, "message") and "role" in given:
        return _message(given) if earlier and role in ("user", "assistant", "system", "developer") else given
    if kind in (None, "item_reference") or not isinstance(kind, str):
        return given
    if kind in _READERS:
        return _READERS[kind](given, at)
    unread = earlier or kind in _UNREAD or kind.endswith(("_call", "_output"))
    return IGNORED if unread else given


def _message(item: Mapping[str, Any]) -> dict[str, Any]:
    role, content = item["role"], item.get("content")
    if not isinstance(content, list):
        content = [] if content is None else [content]
    parts = [_part(part, role) for part in cast(list[Any], content)]
    phase = item.get("phase")
    read = {"type": "message", "role": role, "content": parts, **_identity(item)}
    return read | {"phase": phase} if phase in ("commentary", "final_answer") else read


def _part(part: Any, role: str) -> dict[str, Any]:
    """A content part: a text or a refusal of the assistant, a text or an image of others."""
    given: Mapping[str, Any] = cast(dict[str, Any], part) if isinstance(part, dict) else {}
    read = earlier_part(part)
    if role == "assistant":
        if given.get("type") == "refusal" and isinstance(given.get("refusal"), str):
            return {"type": "refusal", "refusal": given["refusal"]}
        annotations = given.get("annotations")
        known = isinstance(annotations, list) and all(isinstance(one, dict) for one in cast(list[Any], annotations))
        text = read["text"] if read["type"] == "text" else "[image]"
        return {
            "type": "output_text",
            "text": text,
            "annotations": cast(list[Any], annotations)[:1024] if known else [],
        }
    if read["type"] == "text":
        return {"type": "input_text", "text": read["text"]}
    if role not in ("user", "tool"):
        return {"type": "input_text", "text": "[image]"}
    detail = given.get("detail")
    image: dict[str, Any] = {"type": "input_image", "detail": detail if detail in DETAILS else "auto"}
    if read["type"] == "image_url":
        return image | {"image_url": read["image_url"]["url"]}
    file = read["file"]
    return image | ({"file_id": file["file_id"]} if "file_id" in file else {"image_url": file["file_data"]})


def _call(item: Mapping[str, Any], at: int) -> dict[str, Any]:
    name, is_custom = item.get("name"), item["type"] == "custom_tool_call"
    if not isinstance(name, str) or not name:
        return IGNORED
    field = "input" if is_custom else "arguments"
    value = item.get(field)
    read = {"type": item["type"], "call_id": _call_id(item, at), "name": name[:256], **_identity(item)}
    namespace = item.get("namespace")
    if isinstance(namespace, str) and namespace:
        read["namespace"] = namespace[:256]
    return read | {field: "" if value is None else as_text(value)}


def _output(item: Mapping[str, Any], at: int) -> dict[str, Any]:
    output = item.get("output")
    kind = item.get("type") if item.get("type") == "custom_tool_call_output" else "function_call_output"
    read: dict[str, Any] = {"type": kind, "call_id": _call_id(item, at), **_identity(item)}
    if isinstance(output, list):
        return read | {"output": [_part(part, "tool") for part in cast(list[Any], output)]}
    return read | {"output": "" if output is None else as_text(output)}


def _reasoning(item: Mapping[str, Any], _: int) -> dict[str, Any]:
    read: dict[str, Any] = {"type": "reasoning", **_identity(item)}
    for field, kind in (("summary", "summary_text"), ("content", "reasoning_text")):
        parts = item.get(field)
        found = cast(list[Any], parts) if isinstance(parts, list) else []
        texts = [cast(dict[str, Any], part).get("text") for part in found if isinstance(part, dict)]
        read[field] = [{"type": kind, "text": text} for text in texts if isinstance(text, str)]
    return read


_READERS: dict[Any, Callable[[Mapping[str, Any], int], dict[str, Any]]] = {
    "function_call": _call,
    "custom_tool_call": _call,
    "function_call_output": _output,
    "custom_tool_call_output": _output,
    "reasoning": _reasoning,
}


def _identity(item: Mapping[str, Any]) -> dict[str, Any]:
    """Id and status, as far as they are usable."""
    item_id, status = item.get("id"), item.get("status")
    read: dict[str, Any] = {"id": item_id} if isinstance(item_id, str) and ID.fullmatch(item_id) else {}
    return read | {"status": status} if status in _STATUSES else read


def _call_id(item: Mapping[str, Any], at: int) -> str:
    given = item.get("call_id") or item.get("id")
    return given[:256] if isinstance(given, str) and given else f"call_{at}"
