"""The sockets between vLLM's AsyncLLM and its engine, without pyzmq's asyncio layer.

That layer costs a hundred microseconds for each message that wakes it: with few streams, as much as all other work for
their tokens. Here the event loop itself watches the sockets, and messages are sent at once.

INTERNAL vllm==0.32: the attributes that hold the sockets, and which of their methods AsyncLLM calls.
"""

import asyncio
import os
from collections.abc import Awaitable, Sequence
from typing import Any

import zmq
import zmq.asyncio

PLAIN_FRAMES = 3
"""Frames of a message without tensors: engine, type and payload."""
SMALL_BYTES = 64 * 1024
"""A smaller message is faster to copy than to send without a copy."""


def replace_sockets(llm: Any) -> None:
    """Replaces how vLLM's AsyncLLM sends to its engine and receives from it; call it before the first request."""
    core = llm.engine_core
    output, input_ = getattr(core.resources, "output_socket", None), getattr(core, "input_socket", None)
    if not isinstance(output, zmq.asyncio.Socket) or not isinstance(input_, zmq.asyncio.Socket):
        return
    receiver: Any = _Receiver(output)
    sockets: Any = output, input_
    sockets[0].recv_multipart = receiver.recv_multipart
    sockets[0].close = receiver.close
    sockets[1].send_multipart = _Sender(input_).send_multipart


class _Receiver:
    def __init__(self, socket: "zmq.asyncio.Socket") -> None:
        self._close = socket.close
        self._socket: zmq.Socket[bytes] = zmq.Socket.shadow(socket)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fd = -1
        self._waiter: asyncio.Future[None] | None = None

    async def recv_multipart(self, copy: bool = True) -> Sequence[Any]:
        """The next message. The descriptor signals each arrival only once, so all waiting messages are read first."""
        while True:
            events: Any = self._socket.getsockopt(zmq.EVENTS)
            if events & zmq.POLLIN:  # cheaper than the exception when there is no message
                return self._socket.recv_multipart(zmq.NOBLOCK, copy=copy)
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
                # A duplicate, which this class alone closes. If ZeroMQ closed the descriptor first, uvloop would keep
                # its entry, and ignore the next engine's socket where it has the same number.
                self._fd = os.dup(self._socket.FD)
                self._loop.add_reader(self._fd, self._wake)
                continue  # A message may have arrived in between.
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def close(self, linger: int | None = None) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._close(linger=linger)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Sender:
    def __init__(self, socket: "zmq.asyncio.Socket") -> None:
        self._later = socket.send_multipart
        self._socket: zmq.Socket[bytes] = zmq.Socket.shadow(socket)

    def send_multipart(self, parts: Sequence[Any], flags: int = 0, copy: bool = True, **options: Any) -> Awaitable[Any]:
        """Sends at once; if the engine's queue is full, waits as pyzmq does."""
        small = len(parts) == PLAIN_FRAMES and len(parts[-1]) < SMALL_BYTES
        try:
            sent = self._socket.send_multipart(parts, flags | zmq.NOBLOCK, copy=copy or small, **options)
        except zmq.Again:
            return self._later(parts, flags, copy=copy, **options)
        done = asyncio.get_running_loop().create_future()
        done.set_result(sent)
        return done
