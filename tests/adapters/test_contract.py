"""One suite for every backend: what the seam promises, whoever keeps it and in whichever process."""

import asyncio
import io
import math
import struct
import time
import wave
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.servers import ROOT, model_path

from adapters import registry
from adapters.base import (
    Adapter,
    AudioChunk,
    EmbeddingAdapter,
    EmbeddingRequest,
    EmbeddingResult,
    GeneratedImage,
    GeneratedVideo,
    ImageAdapter,
    ImageDone,
    ImageRequest,
    JudgeRequest,
    Media,
    Message,
    ModelFiles,
    Question,
    Segment,
    SpeechAdapter,
    Step,
    SynthesisDone,
    SynthesisRequest,
    TextAdapter,
    TextDelta,
    TextDone,
    TextPart,
    TextRequest,
    TranscriptionDone,
    TranscriptionInfo,
    TranscriptionRequest,
    VideoAdapter,
    VideoRequest,
    VoiceAdapter,
)
from adapters.errors import ContextLengthExceeded, InvalidMedia, ModelLoadFailed, UnsupportedOption
from adapters.process.remote import PROXIES

NARRATION = ROOT / "examples" / "narration.ogg"


@dataclass(frozen=True)
class Case:
    """A backend with a model for it."""

    backend: str
    model: str = ""
    """A model of the catalog, or "" for the fakes."""
    child: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.backend}{'-child' if self.child else ''}"


CASES = [
    *(Case(name, child=child) for name in ("fake-text", "fake-embedding", "fake-speech", "fake-voice", "fake-image", "fake-video") for child in (False, True)),
    Case("vllm", "qwen2.5-coder-0.5b-instruct", child=False),
    Case("transformers-embedding", "all-minilm-l6-v2"),
    Case("vllm-embedding", "all-minilm-l6-v2"),
    Case("faster-whisper", "whisper-base"),
    Case("kokoro", "kokoro-82m"),
    Case("diffusers-image", "starter-image"),
    Case("diffusers-video", "starter-video"),
]  # fmt: skip


def nothing(_: object) -> None:
    pass


def test_every_backend_has_its_row_here() -> None:
    assert {case.backend for case in CASES} == set(registry.BACKENDS)


PARAMETERS = [pytest.param(case, marks=() if case.model else pytest.mark.fake, id=str(case)) for case in CASES]


@pytest.fixture(scope="module", params=PARAMETERS)
async def loaded(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Case, Adapter]]:
    case: Case = request.param
    path = await model_path(case.model) if case.model else Path()
    files = ModelFiles(case.model or case.backend, case.backend, str(path), case.options)
    row = registry.BACKENDS[case.backend]
    implementation: Any = PROXIES[row.kinds[0]] if case.child else registry.implementation(case.backend)
    before = set(psutil.Process().children(recursive=True))
    adapter = await implementation.load(files, nothing)
    yield case, adapter
    await adapter.unload()
    left = set(psutil.Process().children(recursive=True)) - before
    _, alive = psutil.wait_procs(left, 10)
    alive = [child for child in alive if "resource_tracker" not in " ".join(child.cmdline())]
    assert not alive, f"{case} left processes behind"


def short(adapter: Adapter, case: Case) -> Any:
    """A small piece of work of the adapter's kind: its events."""
    if isinstance(adapter, TextAdapter):
        return adapter.generate(
            TextRequest(messages=(Message("user", (TextPart("Say hello."),)),), max_tokens=8, seed=1)
        )
    if isinstance(adapter, EmbeddingAdapter):
        return vectors(adapter)
    if isinstance(adapter, SpeechAdapter):
        return adapter.transcribe(TranscriptionRequest(sound(case), beam_size=1, temperature=(0.0,)))
    if isinstance(adapter, VoiceAdapter):
        return adapter.speak(SynthesisRequest("Hello there. And goodbye."))
    if isinstance(adapter, ImageAdapter):
        return adapter.generate(ImageRequest("a fox", width=64, height=64, num_inference_steps=3, seed=5))
    assert isinstance(adapter, VideoAdapter)
    return adapter.generate(VideoRequest("a fox", width=64, height=64, num_frames=9, num_inference_steps=3, seed=5))


async def vectors(adapter: EmbeddingAdapter) -> AsyncGenerator[EmbeddingResult]:
    yield await adapter.embed(EmbeddingRequest(("a fox", "the horse lifted all four feet")))


def sound(case: Case) -> Media:
    if not case.backend.startswith("fake"):
        return Media("audio/ogg", path=str(NARRATION))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0" * 16000 * 3)
    return Media("audio/wav", buffer.getvalue())


@pytest.mark.slow
async def test_events_come_in_the_order_of_their_kind(loaded: tuple[Case, Adapter]) -> None:
    case, adapter = loaded
    assert adapter.alive
    events = [event async for event in short(adapter, case)]
    kinds = [type(event) for event in events]
    if isinstance(adapter, TextAdapter):
        assert set(kinds[:-1]) == {TextDelta}
        assert kinds[-1] is TextDone
        assert [e.finish_reason for e in events[:-1]][-1] in ("stop", "length")
        assert 0 < events[-1].usage.completion_tokens <= 8
    elif isinstance(adapter, EmbeddingAdapter):
        assert kinds == [EmbeddingResult]
        assert events[0].usage.prompt_tokens >= 8
        assert len(events[0].vectors) == 2
        for vector in events[0].vectors:
            numbers = struct.unpack(f"<{len(vector) // 4}f", vector)
            assert math.hypot(*numbers) == pytest.approx(1, abs=1e-5)
    elif isinstance(adapter, SpeechAdapter):
        assert (kinds[0], kinds[-1]) == (TranscriptionInfo, TranscriptionDone)
        assert set(kinds[1:-1]) == {Segment}
        words = [word for segment in events[1:-1] for word in segment.words]
        assert all(word.start <= word.end for word in words)
        assert [w.start for w in words] == sorted(w.start for w in words)
    elif isinstance(adapter, VoiceAdapter):
        assert set(kinds[:-1]) == {AudioChunk}
        assert kinds[-1] is SynthesisDone
        assert len(kinds) > 2, "the sound comes in pieces"
        assert sum(len(event.data) for event in events[:-1]) == 44 + round(events[-1].duration_s * 24_000) * 2
    elif isinstance(adapter, ImageAdapter):
        assert kinds == [Step, Step, Step, GeneratedImage, ImageDone]
        assert (events[3].width, events[3].height, events[3].seed) == (64, 64, 5)
    else:
        assert kinds == [Step, Step, Step, GeneratedVideo]
        assert (events[3].num_frames, events[3].fps) == (9, 24)


async def test_a_model_of_its_own_process_tells_what_it_holds(loaded: tuple[Case, Adapter]) -> None:
    case, adapter = loaded
    held = adapter.memory_bytes()
    if case.child or case.backend == "vllm":
        assert held is not None
        assert held > 10 * 2**20
    else:
        assert held is None


async def test_equal_requests_give_equal_results(loaded: tuple[Case, Adapter]) -> None:
    case, adapter = loaded

    async def result() -> list[Any]:
        made = [event async for event in short(adapter, case)]
        return [
            e.image.data if isinstance(e, GeneratedImage) else e.video.data if isinstance(e, GeneratedVideo) else
            "".join(d.text for d in made if isinstance(d, TextDelta)) if isinstance(e, TextDelta) else
            e if isinstance(e, (Segment, AudioChunk)) else e.vectors if isinstance(e, EmbeddingResult) else None
            for e in made
        ]  # fmt: skip

    assert {str(x) for x in await result()} == {str(x) for x in await result()}


async def test_closing_a_stream_frees_the_model_within_a_second(loaded: tuple[Case, Adapter]) -> None:
    case, adapter = loaded

    async def first_event_s() -> float:
        start = time.monotonic()
        async with aclosing(short(adapter, case)) as events:
            await anext(events)
            return time.monotonic() - start

    async for _ in short(adapter, case):  # to its end: nothing is left to free
        pass
    alone = await first_event_s()
    took = await first_event_s()  # after one that was closed
    # A segment is Whisper's unit of work, and a sentence is a voice's until its first event.
    assert took < alone + (1.0 if not isinstance(adapter, SpeechAdapter | VoiceAdapter) else 8)


async def test_what_runs_side_by_side_does_not_mix(loaded: tuple[Case, Adapter]) -> None:
    case, adapter = loaded

    async def kinds() -> list[type]:
        return [type(event) async for event in short(adapter, case)]

    first, second = await asyncio.gather(kinds(), kinds())
    assert first[0] == second[0]
    assert first[-1] == second[-1]


async def test_promise_18_and_19_garbage_is_invalid_media(loaded: tuple[Case, Adapter]) -> None:
    _, adapter = loaded
    garbage = Media("image/png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    if isinstance(adapter, SpeechAdapter):
        with pytest.raises(InvalidMedia):
            await anext(adapter.transcribe(TranscriptionRequest(garbage)))
        with pytest.raises(InvalidMedia):
            await adapter.detect_language(garbage)
    assert adapter.alive


async def test_a_language_model_judges_with_probabilities(loaded: tuple[Case, Adapter]) -> None:
    _, adapter = loaded
    if not isinstance(adapter, TextAdapter):
        return
    questions = (Question("Is snow cold?"), Question("Which is a fruit?", ("apple", "hammer", "seven")))
    result = await adapter.judge(JudgeRequest((TextPart("Think."),), questions))
    assert [len(judgement.probabilities) for judgement in result.judgements] == [2, 3]
    for judgement in result.judgements:
        assert sum(judgement.probabilities) == pytest.approx(1)
        assert 0 <= judgement.mass <= 1


async def test_an_embedding_model_refuses_what_it_cannot_read(loaded: tuple[Case, Adapter]) -> None:
    _, adapter = loaded
    if not isinstance(adapter, EmbeddingAdapter):
        return
    with pytest.raises(ContextLengthExceeded, match=r"\d+ tokens") as long:
        await adapter.embed(EmbeddingRequest(("short", "word " * 5000), truncate="none"))
    assert long.value.param == "input"
    for ids in ((5, 100_000), (2**31 - 1,), (-1,)):
        with pytest.raises(UnsupportedOption, match="token id") as unknown:
            await adapter.embed(EmbeddingRequest(((5,), ids)))
        assert unknown.value.param == "input"
    with pytest.raises(UnsupportedOption) as size:
        await adapter.embed(EmbeddingRequest(("x",), dimensions=9999))
    assert size.value.param == "dimensions"
    assert len((await adapter.embed(EmbeddingRequest((" ", (5, 6))))).vectors) == 2
    assert adapter.alive


@pytest.mark.parametrize("backend", registry.BACKENDS)
async def test_a_wrong_option_is_a_failed_load_that_names_it(backend: str, tmp_path: Path) -> None:
    implementation = registry.implementation(backend)
    known = next(iter(implementation.Options.model_fields))
    for options in ({"no_such_option": 1}, {known: ["no", "such", "value"]}):
        with pytest.raises(ModelLoadFailed, match=rf"'x' has wrong options \({next(iter(options))}") as wrong:
            await implementation.load(ModelFiles("x", backend, str(tmp_path), options), nothing)
        assert "\n" not in wrong.value.message
        assert str(tmp_path) not in wrong.value.message


@pytest.mark.engine
@pytest.mark.parametrize("backend", [name for name in registry.BACKENDS if not name.startswith("fake")])
async def test_a_folder_without_a_model_fails_to_load(backend: str, tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(ModelLoadFailed) as error:
        await registry.implementation(backend).load(ModelFiles("x", backend, str(tmp_path), {}), nothing)
    assert str(tmp_path) not in error.value.message
    left = [
        c
        for c in set(psutil.Process().children(recursive=True)) - before
        if "resource_tracker" not in " ".join(c.cmdline())
    ]
    assert not left
