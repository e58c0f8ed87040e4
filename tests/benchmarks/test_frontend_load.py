"""The load generator of benchmarks/frontend.py counts what a real server says, and takes no failure for an answer."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from frontend_parts import load
from frontend_parts.load import Reply
from support.servers import Running, serving


@pytest.fixture(scope="module")
def any_model(tmp_path_factory: pytest.TempPathFactory):
    with serving(tmp_path_factory.mktemp("front"), MUYBRIDGE_MODEL_FALLBACK="kind") as running:
        yield running


@pytest.mark.parametrize("stream", [True, False])
async def test_all_that_a_server_wrote_is_counted(any_model: Running, stream: bool) -> None:
    run = await load.drive(any_model.port, clients=3, each=2, max_tokens=4, stream=stream)
    assert len(run.replies) == len(run.texts) == 6
    assert run.tokens == 24
    assert all(run.texts.values())
    assert run.chunks == (24 if stream else 6)
    assert all(first > 0 for first in run.first_text_ms)


async def test_streamed_and_whole_replies_say_the_same(any_model: Running) -> None:
    runs = [await load.drive(any_model.port, clients=2, each=1, max_tokens=5, stream=one) for one in (True, False)]
    assert runs[0].texts == runs[1].texts


def _chunked(*pieces: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def _reply(data: bytes, at: int) -> Reply:
    return Reply("", 0.0, [data[:at], data[at:]])


def test_a_stream_may_be_cut_anywhere() -> None:
    events = (
        b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "data: a\\r\\n\\r\\n0"}}], "usage": {"completion_tokens": 3}}\n\n',
        b"data: [DONE]\n\n",
    )
    whole = b"".join(events)
    for data in (_chunked(*events), _chunked(whole[:90], whole[90:])):
        for at in range(0, len(data), 7):
            assert _reply(data, at).read() == ("data: a\r\n\r\n0", 3, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}",
        _chunked(b'data: {"choices": []}\n\n'),
        _chunked(b'data: {"error": {"message": "no"}}\n\n'),
    ],
)
def test_a_failure_is_no_answer(data: bytes) -> None:
    with pytest.raises(RuntimeError):
        _reply(data, 20).read()


async def test_a_connection_that_is_cut_ends_the_run() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        writer.close()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RuntimeError, match="closed the connection"):
            await load.drive(port, clients=1, each=1, max_tokens=1)
