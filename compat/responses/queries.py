"""What else the routes of stored responses take and give: queries, pages of input, deletions, counts."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from compat.errors import RequestError
from compat.responses.reply import InputTokenCount, Response, ResponseDeleted, ResponseItemList
from compat.responses.request import IMAGE_URLS, LOGPROBS


def parse_include(include: Sequence[str] | None) -> frozenset[str]:
    """What a reply is to carry besides.

    Raises:
        RequestError: Something that no reply of this server carries.
    """
    for one in include or ():
        if one not in (LOGPROBS, IMAGE_URLS):
            raise RequestError(
                f"Invalid 'include': nothing here has {one[:64]!r}; there are {LOGPROBS} and {IMAGE_URLS}.",
                param="include",
                code="invalid_value",
            )
    return frozenset(include or ())


def check_query(include: Sequence[str] | None, stream: bool, starting_after: int | None, obfuscation: bool) -> None:
    """Refuses what a retrieval cannot honour.

    Raises:
        RequestError: A parameter needs another, or asks for what was decided when the response was made.
    """
    parse_include(include)
    if starting_after is not None and not stream:
        raise RequestError("starting_after needs stream=true.", param="starting_after")
    if obfuscation:
        raise RequestError(
            "A stream is repeated as it was: ask for obfuscation when you create it.", param="include_obfuscation"
        )


def check_included(found: Response | Mapping[str, Any], include: Sequence[str] | None) -> None:
    """Refuses log-probabilities that a response was made without.

    Raises:
        RequestError: It has text, and no log-probabilities to it.
    """
    if LOGPROBS not in (include or ()):
        return
    output: Any = found.output if isinstance(found, Response) else found["output"]
    items: list[dict[str, Any]] = msgspec.to_builtins(output)
    texts = [part for item in items if item["type"] == "message" for part in item["content"]]
    if any(part["text"] and not part["logprobs"] for part in texts):
        raise RequestError("This response was made without log-probabilities.", param="include")


def render_page(found: Sequence[dict[str, Any]], *, has_more: bool, include: frozenset[str]) -> ResponseItemList:
    """A page of input items; images without their data, unless that is asked for."""
    if IMAGE_URLS not in include:
        for item in found:
            for part in item["content"] if item["type"] == "message" else ():
                if part["type"] == "input_image":
                    part["image_url"] = None
    first, last = (found[0]["id"], found[-1]["id"]) if found else (None, None)
    return ResponseItemList(data=list(found), first_id=first, last_id=last, has_more=has_more)


def render_deleted(response_id: str) -> ResponseDeleted:
    """A response that is gone."""
    return ResponseDeleted(response_id)


def render_count(tokens: int) -> InputTokenCount:
    """How many tokens a model would read."""
    return InputTokenCount(tokens)
