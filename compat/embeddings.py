"""POST /v1/embeddings: schemas, parse and render. There may be millions of numbers, so no Python loops over them."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import msgspec
from pydantic import Field

from adapters.base import EmbeddingRequest, EmbeddingResult
from compat.errors import invalid
from compat.wire import Timings, WireReply, WireRequest, validate

MAX_INPUTS = 2048
"""Per request, as in OpenAI's API."""
MAX_TOKENS = 300_000
"""Of all inputs that are token ids together, as in OpenAI's API. Texts are counted where they are tokenized."""
MAX_CHARACTERS = 2_000_000
"""Of all texts together. More would take more than a few seconds to tokenize."""
MAX_ID = 2**31

Input = str | tuple[int, ...]
_TRUNCATE: dict[bool | str, Literal["start", "end", "none"]] = {
    True: "end",
    False: "none",
    "START": "start",
    "END": "end",
    "NONE": "none",
}


class EmbeddingCreateRequest(WireRequest):
    """The body. `input` is checked separately: pydantic would make a million errors of a million wrong ids."""

    model: Annotated[str, Field(max_length=256)]
    input: Any
    """A text, a list of texts, token ids, or a list of lists of token ids."""
    dimensions: Annotated[int, Field(ge=1, le=65_536)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    truncate: bool | Literal["START", "END", "NONE"] | None = None
    """What becomes of longer inputs than the model reads: true and "END" drop their end, "START" their start; false and
    "NONE" refuse them. Named as in other embedding servers."""
    user: Any = None
    """The caller's label; has no effect."""


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """A parsed request."""

    model: str
    request: EmbeddingRequest
    base64: bool


class Embedding(WireReply):
    """One input's vector."""

    object: Literal["embedding"]
    index: int
    embedding: bytes | msgspec.Raw
    """Bytes (float32, little-endian) are encoded as base64; a list of numbers is already encoded."""


class EmbeddingUsage(WireReply):
    """Tokens of one request."""

    prompt_tokens: int
    total_tokens: int


class CreateEmbeddingResponse(WireReply):
    """The reply."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    timings: Timings


def parse(body: Mapping[str, Any]) -> EmbeddingCall:
    """The request behind a JSON body.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(EmbeddingCreateRequest, body)
    inputs = _inputs(wire.input)
    characters = sum(len(one) for one in inputs if isinstance(one, str))
    tokens = sum(len(one) for one in inputs if isinstance(one, tuple))
    if characters > MAX_CHARACTERS:
        raise invalid("input", f"has {characters:,} characters in total; the maximum is {MAX_CHARACTERS:,}")
    if tokens > MAX_TOKENS:
        raise invalid("input", f"has {tokens:,} tokens in total; the maximum is {MAX_TOKENS:,}")
    request = EmbeddingRequest(inputs, wire.dimensions, None if wire.truncate is None else _TRUNCATE[wire.truncate])
    return EmbeddingCall(wire.model, request, wire.encoding_format == "base64")


def _inputs(value: Any) -> tuple[Input, ...]:
    if isinstance(value, str):
        return (_text(value, "input"),)
    items, types = _items(
        value, "input", "must be a string, an array of strings, an array of token ids, or an array of such arrays"
    )
    if types == {int}:
        return (_ids(items, "input"),)
    if len(items) > MAX_INPUTS:
        raise invalid("input", f"has {len(items):,} inputs; the maximum is {MAX_INPUTS:,}")
    if types == {str}:
        return tuple(_text(one, f"input[{index}]") for index, one in enumerate(items))
    if types == {list}:
        found: list[Input] = []
        for index, one in enumerate(items):
            ids, kinds = _items(one, f"input[{index}]", "must be an array of token ids")
            if kinds != {int}:
                at = next(at for at, item in enumerate(ids) if type(item) is not int)
                raise invalid(f"input[{index}][{at}]", "must be a token id, an integer")
            found.append(_ids(ids, f"input[{index}]"))
        return tuple(found)
    known = [kind for kind in (str, int, list) if type(items[0]) is kind]
    at = next((at for at, item in enumerate(items) if type(item) not in known), 0)
    raise invalid(
        f"input[{at}]",
        "must be a string, a token id or an array of token ids, and of the same type as the other inputs",
    )


def _items(value: Any, param: str, expected: str) -> tuple[Sequence[Any], set[type]]:
    """A non-empty list and the types of its items."""
    if not isinstance(value, list):
        raise invalid(param, expected)
    if not value:
        raise invalid(param, "must not be empty")
    items = cast(list[Any], value)
    return items, set(map(type, items))


def _text(text: str, param: str) -> str:
    if not text:
        raise invalid(param, "must not be empty")
    return text


def _ids(ids: Sequence[int], param: str) -> tuple[int, ...]:
    if len(ids) > MAX_TOKENS:
        raise invalid(param, f"has {len(ids):,} tokens; the maximum is {MAX_TOKENS:,} per request")
    if min(ids) < 0 or max(ids) >= MAX_ID:
        at = next(at for at, one in enumerate(ids) if not 0 <= one < MAX_ID)
        raise invalid(f"{param}[{at}]", f"must be a token id from 0 to {MAX_ID - 1}")
    return tuple(ids)


def render(call: EmbeddingCall, model: str, result: EmbeddingResult) -> CreateEmbeddingResponse:
    """The reply. Encodes the numbers at 30 to 60 ns each, so it runs in a thread if there are many (`is_large`)."""
    render_one = bytes if call.base64 else _numbers
    tokens = result.usage.prompt_tokens
    return CreateEmbeddingResponse(
        object="list",
        data=[Embedding("embedding", index, render_one(vector)) for index, vector in enumerate(result.vectors)],
        model=model,
        usage=EmbeddingUsage(tokens, tokens),
        timings=Timings(generation_ms=round(result.generation_ms, 3)),
    )


def is_large(call: EmbeddingCall, result: EmbeddingResult) -> bool:
    """Whether rendering would block the event loop for too long."""
    return not call.base64 and sum(map(len, result.vectors)) > 4 * 20_000


def _numbers(vector: bytes) -> msgspec.Raw:
    """A vector as a JSON array. One per call, so that other threads can run in between."""
    return msgspec.Raw(msgspec.json.encode(struct.unpack(f"<{len(vector) // 4}f", vector)))
