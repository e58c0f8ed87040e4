"""The wire protocol between the server and a model's child process: length-prefixed MessagePack, never pickle.

What a child sends is decoded into the contract's dataclasses only, so a child that a hostile file has taken over can
send the server wrong data, but no code.
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
"""More than any request or result holds; a greater length means that the peer is broken."""

Operation = Literal["load", "call", "stream", "cancel", "progress", "event", "result", "end", "error", "ping", "pong"]


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """One message in either direction."""

    call: int
    """Id of the call that it belongs to; 0 for loading."""
    operation: Operation
    name: str = ""
    """Towards the child: the method to call. From it: the class of the body, or of an exception."""
    body: Any = None


_decoder = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """The frame as bytes, its length first."""
    payload = msgspec.msgpack.encode(frame)
    return LENGTH.pack(len(payload)) + payload


async def read(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame, or None once the stream has ended, for whatever reason.

    Raises:
        msgspec.DecodeError: The peer sent something else.
    """
    try:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        if length > MAX_FRAME_BYTES:
            raise msgspec.DecodeError(f"a frame of {length} bytes is longer than {MAX_FRAME_BYTES}")
        return _decoder.decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    kind = getattr(base, name, None)
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise msgspec.DecodeError(f"{name!r} is not a dataclass of the contract")
    return TypeAdapter(kind)


def item(name: str, body: Any) -> Any:
    """A frame's body as the contract's dataclass of that name."""
    return _adapter(name).validate_python(body)


def error_frame(call: int, error: BaseException) -> Frame:
    """An exception as a frame: an `AdapterError` as it is, any other as `GenerationFailed` without its message."""
    if not isinstance(error, errors.AdapterError):
        error = errors.GenerationFailed("The model failed on this request. The server's log has the cause.")
    return Frame(call, "error", type(error).__name__, {"message": error.message, "param": error.param})


def error(frame: Frame) -> errors.AdapterError:
    """The exception of an error frame."""
    known = {leaf.__name__: leaf for leaf in errors.leaves()}
    return known.get(frame.name, errors.GenerationFailed)(str(frame.body["message"]), param=frame.body["param"])
