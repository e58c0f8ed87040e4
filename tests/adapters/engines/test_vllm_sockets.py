"""The sockets between vLLM's client and its engine, with real ZeroMQ sockets and the server's event loop."""

import asyncio
from typing import Any

import pytest
import uvloop


def test_promise_43_an_engine_is_heard_after_the_sockets_of_earlier_ones_were_closed_elsewhere() -> None:
    """vLLM may destroy the context of an engine that is unloaded before its receiver is closed."""
    zmq: Any = pytest.importorskip("zmq")
    asynchronous: Any = pytest.importorskip("zmq.asyncio")

    from adapters.engines.vllm_sockets import _Receiver

    async def heard() -> bytes:
        context, engine = asynchronous.Context(), zmq.Context()
        output, input_ = context.socket(zmq.PULL), engine.socket(zmq.PUSH)
        input_.connect(f"tcp://127.0.0.1:{output.bind_to_random_port('tcp://127.0.0.1')}")
        receiver: Any = _Receiver(output)
        waiting = asyncio.create_task(receiver.recv_multipart())
        await asyncio.sleep(0.05)  # it watches the descriptor
        input_.send(b"step")
        (message,) = await asyncio.wait_for(waiting, 10)
        context.destroy(linger=0)
        engine.destroy(linger=0)
        return message

    async def engines() -> list[bytes]:
        return [await heard() for _ in range(6)]

    assert uvloop.run(engines()) == [b"step"] * 6
