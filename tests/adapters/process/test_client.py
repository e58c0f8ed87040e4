"""A model in a child process: calls, streams, cancelling, and the death of either side."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.servers import ROOT

from adapters import base
from adapters.base import (
    ImagePart,
    ImageRequest,
    JudgeRequest,
    Media,
    Message,
    ModelFiles,
    Question,
    Step,
    TextDelta,
    TextDone,
    TextPart,
    TextRequest,
)
from adapters.errors import AdapterError, GenerationFailed, Interrupted, ModelLoadFailed, leaves
from adapters.process import protocol
from adapters.process.remote import RemoteImage, RemoteText


def nothing(_: object) -> None:
    pass


async def text(**options: Any) -> RemoteText:
    return await RemoteText.load(ModelFiles("fake", "fake-text", "", options), nothing)


def ask(words: str) -> TextRequest:
    return TextRequest(messages=(Message("user", (TextPart(words),)),))


@pytest.mark.slow
async def test_events_and_results_are_those_of_the_adapter_itself() -> None:
    model = await text()
    try:
        assert model.supports_images
        events = [event async for event in model.generate(ask("a b"))]
        assert events[:2] == [TextDelta("a"), TextDelta(" b")]
        assert isinstance(events[-1], TextDone)
        content = (TextPart("x"), ImagePart(Media("image/png", b"\x00\xff\x80")))
        result = await model.judge(JudgeRequest(content, (Question("is it?"),)))
        assert sum(result.judgements[0].probabilities) == pytest.approx(1)
    finally:
        await model.unload()
    assert not model.alive


async def test_the_current_directory_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("adapters", "msgspec"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported from the current directory')\n")
    monkeypatch.chdir(tmp_path)
    model = await text()
    assert model.alive
    await model.unload()


async def test_calls_run_side_by_side() -> None:
    model = await text(delay_ms=200)
    try:
        begin = time.monotonic()
        await asyncio.gather(*(fold(model, "a b c") for _ in range(8)))
        assert time.monotonic() - begin < 3  # one after the other takes 8
    finally:
        await model.unload()


async def fold(model: RemoteText, words: str) -> list[Any]:
    return [event async for event in model.generate(ask(words))]


async def test_errors_keep_their_class_message_and_param() -> None:
    model = await text(supports_images=False)
    try:
        with pytest.raises(GenerationFailed, match="told to fail"):
            await fold(model, "[fail_after=1] a b")
        images = (ImagePart(Media("image/png", b"x")),)
        with pytest.raises(AdapterError) as refused:
            await model.judge(JudgeRequest(images, (Question("?"),)))
        assert refused.value.param == "input"
        assert await fold(model, "still here")
    finally:
        await model.unload()


async def test_a_failing_load_says_why_and_leaves_no_process() -> None:
    before = psutil.Process().children(recursive=True)
    with pytest.raises(ModelLoadFailed, match="told to fail"):
        await text(fail_load=True)
    assert psutil.Process().children(recursive=True) == before


async def test_a_cancelled_load_leaves_no_process() -> None:
    before = psutil.Process().children(recursive=True)
    task = asyncio.create_task(text(load_delay_ms=60_000))
    await asyncio.sleep(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert psutil.Process().children(recursive=True) == before


async def test_closing_a_stream_cancels_it_in_the_child() -> None:
    model = await RemoteImage.load(ModelFiles("fake", "fake-image", "", {"delay_ms": 50}), nothing)
    try:
        async with aclosing(model.generate(ImageRequest("x", width=8, height=8, num_inference_steps=200))) as events:
            assert await anext(events) == Step(1, 200)
        # The child serves on, and nothing of the closed stream arrives in the next.
        request = ImageRequest("x", width=8, height=8, num_inference_steps=2)
        assert [type(event).__name__ async for event in model.generate(request)] == [
            "Step", "Step", "GeneratedImage", "ImageDone",
        ]  # fmt: skip
    finally:
        await model.unload()


@pytest.mark.slow
async def test_promise_1_killing_the_child_interrupts_its_calls_and_only_those() -> None:
    doomed, other = await text(delay_ms=50), await text(delay_ms=50)
    try:
        stream = doomed.generate(ask("a b c d e f g h"))
        await anext(stream)
        os.kill(doomed.worker.pid, signal.SIGKILL)
        with pytest.raises(Interrupted):
            async for _ in stream:
                pass
        assert not doomed.alive
        with pytest.raises(Interrupted):
            await fold(doomed, "again")
        assert await fold(other, "fine")
    finally:
        await doomed.unload()
        await other.unload()


async def test_promise_2_the_child_dies_with_its_parent_even_at_work() -> None:
    script = """
import asyncio, sys
from adapters.base import *
from adapters.process.remote import RemoteText
async def main():
    model = await RemoteText.load(ModelFiles("fake", "fake-text", "", {"delay_ms": 100}), lambda _: None)
    print(model.worker.pid, flush=True)
    async for _ in model.generate(TextRequest(prompt="[tokens=4000]", max_tokens=4000)):
        pass
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await asyncio.to_thread(child.wait, 2)


async def test_a_child_sends_dataclasses_of_the_contract_and_nothing_else() -> None:
    for name in ("Adapter", "BaseModel", "os", "__loader__", "Callable"):
        with pytest.raises(Exception, match="not a dataclass"):
            protocol.item(name, {})
    with pytest.raises(ValueError, match="validation error"):
        protocol.item("Step", {"step": "x", "total": []})


def test_every_error_survives_the_transfer() -> None:
    for leaf in leaves():
        received = protocol.error(
            protocol._decoder.decode(protocol.encode(protocol.error_frame(1, leaf("m", param="p")))[8:])
        )
        assert (type(received), received.message, received.param) == (leaf, "m", "p")
    hidden = protocol.error(protocol.error_frame(1, RuntimeError("secret")))
    assert isinstance(hidden, GenerationFailed)
    assert "secret" not in hidden.message


@pytest.mark.parametrize(
    "item",
    [
        ask("a"),
        TextRequest(prompt=(1, 2), logit_bias={5: 1.5}, stop=("x",)),
        base.TranscriptionRequest(Media("audio/wav", path="/x"), language="en"),
        base.LanguageDetection("en", 0.5, (("en", 0.5), ("de", 0.5))),
        base.VideoRequest("p", keyframes=(base.Keyframe(Media("image/png", b"\xff\x00"), -1, 0.5),)),
        base.Segment(0, 0.0, 1.0, " a", (1, 2), 0.0, -0.1, 1.0, 0.0, (base.Word(0.0, 0.5, " a", 1.0),)),
        base.JudgeRequest((TextPart("t"), ImagePart(Media("image/png", b"x"))), (Question("?", ("a", "b")),)),
    ],
)
def test_the_contract_survives_the_transfer(item: Any) -> None:
    sent = protocol.encode(protocol.Frame(1, "event", type(item).__name__, item))
    received = protocol._decoder.decode(sent[protocol.LENGTH.size :])
    assert protocol.item(received.name, received.body) == item


async def test_a_lying_length_is_refused() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(protocol.LENGTH.pack(2**62))
    with pytest.raises(Exception, match="a frame of"):
        await protocol.read(reader)


async def test_promise_13_a_hung_child_is_killed_and_its_calls_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.process.client.HEARTBEAT_S", 0.5)
    model = await text(delay_ms=10)
    try:
        for _ in range(3):  # healthy, for several heartbeats
            assert await fold(model, "a b [tokens=30]")
        stream = model.generate(ask("[tokens=2000]"))
        await anext(stream)
        os.kill(model.worker.pid, signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(Interrupted):
            async for _ in stream:
                pass
        assert time.monotonic() - begin < 3
        assert not model.alive
    finally:
        await model.unload()


async def test_a_child_reports_how_much_memory_it_uses() -> None:
    model = await text()
    used = model.memory_bytes()
    assert used is not None
    assert 10 * 2**20 < used < 2**30
    await model.unload()
    assert model.memory_bytes() is None


async def test_promise_13_a_call_to_a_stopped_child_can_be_given_up() -> None:
    model = await text()
    try:
        os.kill(model.worker.pid, signal.SIGSTOP)
        large = JudgeRequest((ImagePart(Media("image/png", b"x" * 8_000_000)),), (Question("is it?"),))
        calls = [asyncio.create_task(model.judge(large)), asyncio.create_task(fold(model, "a b"))]
        await asyncio.sleep(0.1)
        for call in calls:
            call.cancel()
        done, pending = await asyncio.wait(calls, timeout=1)
        assert not pending
        assert all(call.cancelled() for call in done)
        assert not model.worker._calls
        os.kill(model.worker.pid, signal.SIGCONT)
        assert await fold(model, "c")
    finally:
        await model.unload()


async def test_a_child_that_sends_an_invalid_frame_is_killed_and_the_model_can_be_unloaded() -> None:
    model = await text(delay_ms=20)
    stream = model.generate(ask("[tokens=500]"))
    await anext(stream)
    os.kill(model.worker.pid, signal.SIGSTOP)
    reader = model.worker._writer.transport.get_protocol()
    reader.data_received(protocol.LENGTH.pack(2**40))
    with pytest.raises(Interrupted):
        async for _ in stream:
            pass
    await model.unload()
    assert not model.alive
