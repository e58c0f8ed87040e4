"""Chat requests of nothing but texts and the commonest settings, read in one pass.

`compat.chat.request.parse` reads every request, and is the only one that refuses any; a short one takes it three times
as long. What is read here it would read alike, which a property test asserts; all else is None here.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from adapters.base import Message, TextPart, TextRequest
from compat.chat.request import ChatCall

NUL = b"\\u0000"
"""In JSON. No text of this API may hold it."""

Tokens = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class PlainMessage(Struct, forbid_unknown_fields=True):
    """A message that is one text."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class PlainStreamOptions(Struct, forbid_unknown_fields=True):
    """What else a stream carries."""

    include_usage: bool | None = None


class PlainChatRequest(Struct, forbid_unknown_fields=True):
    """The fields of `compat.chat.request.ChatCompletionRequest` that most requests have, within the same bounds."""

    model: Annotated[str, Meta(max_length=256)]
    messages: Annotated[list[PlainMessage], Meta(min_length=1, max_length=4096)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stream: bool | None = None
    stream_options: PlainStreamOptions | None = None


_decoder = msgspec.json.Decoder(PlainChatRequest)


def parse(body: bytes) -> ChatCall | None:
    """The request behind a JSON body; None where it is another, or none."""
    try:
        wire = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    both = wire.max_tokens is not None and wire.max_completion_tokens is not None
    if both or (wire.stream_options is not None and not wire.stream) or NUL in body:
        return None
    request = TextRequest(
        messages=tuple(Message(one.role, (TextPart(one.content),)) for one in wire.messages),
        max_tokens=wire.max_completion_tokens or wire.max_tokens,
        temperature=1.0 if wire.temperature is None else wire.temperature,
        top_p=1.0 if wire.top_p is None else wire.top_p,
        seed=wire.seed,
        tool_choice="none",
    )
    include_usage = wire.stream_options is not None and bool(wire.stream_options.include_usage)
    return ChatCall(wire.model, request, bool(wire.stream), include_usage)
