"""The private language between the server and a model's child process: length-prefixed MessagePack, never pickle.

What a child sends is decoded into the seam's dataclasses alone, so a child that a hostile file has taken over can hand
the server wrong data, but no code.
"""

import asyncio
import struct
from dataclasses import is_dataclass
from functools import cache
from typing import Any, Literal

import msgspec
from pydantic import TypeAdapter

from adapters import base, errors

LENGTH = struct.Struct(">Q")
MAX_FRAME_BYTES = 2**31
"""More than any request or result of the seam holds; a length beyond it means a broken peer."""

Operation = Literal["load", "call", "stream", "cancel", "progress", "event", "result", "end", "error", "ping", "pong"]


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """One message in either direction."""

    call: int
    """Which call it belongs to; 0 is loading."""
    operation: Operation
    name: str = ""
    """A verb on the way to the child; else the name of the body's dataclass, or of an exception."""
    body: Any = None


_decoder = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """The frame with its length before it."""
    payload = msgspec.msgpack.encode(frame)
    return LENGTH.pack(len(payload)) + payload


async def read(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame, or None at the end of the stream, however it ends.

    Raises:
        msgspec.DecodeError: The peer speaks something else.
    """
    try:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        if length > MAX_FRAME_BYTES:
            raise msgspec.DecodeError(f"a frame of {length} bytes")
        return _decoder.decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    kind = getattr(base, name, None)
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise msgspec.DecodeError(f"{name!r} is no dataclass of the seam")
    return TypeAdapter(kind)


def item(name: str, body: Any) -> Any:
    """The dataclass of the seam that a frame's body holds."""
    return _adapter(name).validate_python(body)


def error_frame(call: int, error: BaseException) -> Frame:
    """An exception as a frame: those of `adapters.errors` as they are, others as `GenerationFailed` without a cause."""
    if not isinstance(error, errors.AdapterError):
        error = errors.GenerationFailed("The model failed.")
    return Frame(call, "error", type(error).__name__, {"message": error.message, "param": error.param})


def error(frame: Frame) -> errors.AdapterError:
    """The exception that an error frame holds."""
    known = {leaf.__name__: leaf for leaf in errors.leaves()}
    return known.get(frame.name, errors.GenerationFailed)(str(frame.body["message"]), param=frame.body["param"])
