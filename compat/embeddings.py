"""POST /v1/embeddings: schemas, parse and render. No loops over numbers in Python: there may be millions."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import msgspec
from pydantic import Field

from adapters.base import EmbeddingRequest, EmbeddingResult
from compat.errors import RequestError
from compat.wire import Timings, WireReply, WireRequest, validate

MAX_INPUTS = 2048
"""Of one request, as OpenAI has it."""
MAX_TOKENS = 300_000
"""Of all inputs that come as token ids; as OpenAI has it. Texts are counted where they are tokenized."""
MAX_CHARACTERS = 2_000_000
"""Of all texts together: a few seconds of tokenizing."""
MAX_ID = 2**31

Input = str | tuple[int, ...]


class EmbeddingCreateRequest(WireRequest):
    """The body. `input` is looked at apart, since pydantic would make a million errors of a million wrong ids."""

    model: Annotated[str, Field(max_length=256)]
    input: Any
    """A text, a list of texts, a text's token ids, or a list of such."""
    dimensions: Annotated[int, Field(ge=1, le=65_536)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
    """The caller's own label; nothing depends on it."""


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
    """Bytes become base64 (of float32, little-endian); a list of numbers is encoded already."""


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
        raise _wrong("input", f"all texts together have {characters:,} characters; at most {MAX_CHARACTERS:,} are read")
    if tokens > MAX_TOKENS:
        raise _wrong("input", f"all inputs together have {tokens:,} tokens; at most {MAX_TOKENS:,} are read")
    return EmbeddingCall(wire.model, EmbeddingRequest(inputs, wire.dimensions), wire.encoding_format == "base64")


def _inputs(value: Any) -> tuple[Input, ...]:
    if isinstance(value, str):
        return (_text(value, "input"),)
    items, types = _items(value, "input", "write a text, a list of texts, token ids, or a list of lists of token ids")
    if types == {int}:
        return (_ids(items, "input"),)
    if len(items) > MAX_INPUTS:
        raise _wrong("input", f"there are {len(items):,} inputs; a request may have {MAX_INPUTS:,}")
    if types == {str}:
        return tuple(_text(one, f"input[{index}]") for index, one in enumerate(items))
    if types == {list}:
        found: list[Input] = []
        for index, one in enumerate(items):
            ids, kinds = _items(one, f"input[{index}]", "write token ids")
            if kinds != {int}:
                at = next(at for at, item in enumerate(ids) if type(item) is not int)
                raise _wrong(f"input[{index}][{at}]", "a token id is a whole number")
            found.append(_ids(ids, f"input[{index}]"))
        return tuple(found)
    known = [kind for kind in (str, int, list) if type(items[0]) is kind]
    at = next((at for at, item in enumerate(items) if type(item) not in known), 0)
    raise _wrong(f"input[{at}]", "write texts, or token ids, or lists of token ids, and only one of these")


def _items(value: Any, param: str, expected: str) -> tuple[Sequence[Any], set[type]]:
    """A list that is not empty, and the types of what is in it."""
    if not isinstance(value, list):
        raise _wrong(param, expected)
    if not value:
        raise _wrong(param, "it is empty")
    items = cast(list[Any], value)
    return items, set(map(type, items))


def _text(text: str, param: str) -> str:
    if not text:
        raise _wrong(param, "it is empty")
    return text


def _ids(ids: Sequence[int], param: str) -> tuple[int, ...]:
    if len(ids) > MAX_TOKENS:
        raise _wrong(param, f"it has {len(ids):,} tokens; a request may have {MAX_TOKENS:,}")
    if min(ids) < 0 or max(ids) >= MAX_ID:
        at = next(at for at, one in enumerate(ids) if not 0 <= one < MAX_ID)
        raise _wrong(f"{param}[{at}]", "there is no such token id")
    return tuple(ids)


def _wrong(param: str, why: str) -> RequestError:
    return RequestError(f"Invalid '{param}': {why}.", param=param, code="invalid_value")


def render(call: EmbeddingCall, model: str, result: EmbeddingResult) -> CreateEmbeddingResponse:
    """The reply. Numbers are encoded here, 30 to 60 ns each: in a thread, where there are many (`is_large`)."""
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
    """Whether rendering takes longer than a loop should be held."""
    return not call.base64 and sum(map(len, result.vectors)) > 4 * 20_000


def _numbers(vector: bytes) -> msgspec.Raw:
    """A vector as a JSON list. One at a time, so that other threads have their turn in between."""
    return msgspec.Raw(msgspec.json.encode(struct.unpack(f"<{len(vector) // 4}f", vector)))
