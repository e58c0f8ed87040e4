"""The other routes of stored responses: query parameters, pages of items, deletions, token counts."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from compat.errors import RequestError, invalid
from compat.responses.reply import InputTokenCount, Response, ResponseDeleted, ResponseItemList
from compat.responses.request import IMAGE_URLS, INCLUDABLE, LOGPROBS


def parse_include(include: Sequence[str] | None) -> frozenset[str]:
    """The optional parts of a reply.

    Raises:
        RequestError: One that this server does not have.
    """
    for one in include or ():
        if one not in INCLUDABLE:
            raise invalid("include", f"must be one of {', '.join(map(repr, INCLUDABLE))}, not {one[:64]!r}")
    return frozenset(include or ())


def check_query(include: Sequence[str] | None, stream: bool, starting_after: int | None, obfuscation: bool) -> None:
    """Checks the query parameters of a retrieval.

    Raises:
        RequestError: One requires another, or can only be set when the response is created.
    """
    parse_include(include)
    if starting_after is not None and not stream:
        raise invalid("starting_after", "requires 'stream' to be true")
    if obfuscation:
        raise invalid("include_obfuscation", "can only be set in 'stream_options' when the response is created")


def check_included(found: Response | Mapping[str, Any], include: Sequence[str] | None) -> None:
    """Checks that a response has the log probabilities that are requested.

    Raises:
        RequestError: It has text without log probabilities.
    """
    if LOGPROBS not in (include or ()):
        return
    output: Any = found.output if isinstance(found, Response) else found["output"]
    items: list[dict[str, Any]] = msgspec.to_builtins(output)
    texts = [part for item in items if item["type"] == "message" for part in item["content"]]
    if any(part["text"] and not part["logprobs"] for part in texts):
        raise invalid("include", f"the response has no log probabilities; include '{LOGPROBS}' when creating it")


def render_page(found: Sequence[dict[str, Any]], *, has_more: bool, include: frozenset[str]) -> ResponseItemList:
    """A page of input items. Image data is only present if included."""
    if IMAGE_URLS not in include:
        for item in found:
            parts = item.get("content" if item["type"] == "message" else "output")
            for part in cast(list[dict[str, Any]], parts) if isinstance(parts, list) else ():
                if part["type"] == "input_image":
                    part["image_url"] = None
    first, last = (found[0]["id"], found[-1]["id"]) if found else (None, None)
    return ResponseItemList(data=list(found), first_id=first, last_id=last, has_more=has_more)


def render_deleted(response_id: str) -> ResponseDeleted:
    """A deleted response."""
    return ResponseDeleted(response_id)


def render_count(tokens: int) -> InputTokenCount:
    """The number of prompt tokens."""
    return InputTokenCount(tokens)


def no_compaction() -> RequestError:
    """The 404 for a request to compact a conversation."""
    return RequestError(
        "Conversations are not compacted: send truncation: auto, or ask a model for a summary and start from it.",
        code="unsupported_endpoint",
        status=404,
    )
