"""Whisper base, for real: spoken sentences come back as their words."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from faster_whisper import WhisperModel
from support.servers import CACHE, ROOT

from adapters.base import (
    Media,
    ModelFiles,
    Segment,
    SpeechEvent,
    TranscriptionDone,
    TranscriptionInfo,
    TranscriptionRequest,
    Word,
)
from adapters.catalog.catalog import CATALOG, load_catalog
from adapters.errors import Interrupted, InvalidMedia, ModelLoadFailed, UnsupportedOption
from adapters.loader.fetch import fetch
from adapters.media.decode_audio import decode_audio
from adapters.speech.whisper import WhisperSpeech

NARRATION = ROOT / "examples" / "narration.ogg"
MODELS = CACHE / "models"
SENTENCES = "the horse lifted all four feet off the ground nobody had seen that before a camera in the summer"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def files() -> ModelFiles:
    entry = load_catalog().models["whisper-base"]
    try:
        path = await fetch(
            "whisper-base", entry.sources, MODELS, lambda _: None, backend=entry.backend, base_dir=CATALOG.parent
        )
    except ModelLoadFailed as error:
        pytest.skip(f"needs the weights of Whisper base: {error}")
    # Integer kernels round differently on each CPU, and some words are a close decision.
    options = {"device": "cpu", "cpu_threads": 2, "compute_type": "float32"}
    return ModelFiles("whisper-base", entry.backend, str(path), options)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def whisper(files: ModelFiles) -> AsyncIterator[WhisperSpeech]:
    adapter = await WhisperSpeech.load(files, lambda _: None)
    yield adapter
    await adapter.unload()


@pytest.fixture
def narration() -> Media:
    return Media("audio/ogg", data=NARRATION.read_bytes())


async def events_of(adapter: WhisperSpeech, request: TranscriptionRequest) -> list[SpeechEvent]:
    return [event async for event in adapter.transcribe(request)]


def spoken(events: list[SpeechEvent]) -> str:
    text = "".join(event.text for event in events if isinstance(event, Segment))
    return " ".join(re.sub(r"[^a-z0-9 ]", "", text.lower()).split())


async def test_a_spoken_sentence_comes_back_as_its_words(whisper: WhisperSpeech, narration: Media) -> None:
    events = await events_of(whisper, TranscriptionRequest(narration))
    assert spoken(events).startswith(SENTENCES)
    info, *segments, done = events
    assert isinstance(info, TranscriptionInfo)
    assert info.language == "en"
    assert 0.5 < info.language_probability <= 1
    assert info.duration_s == pytest.approx(9.95, abs=0.1)
    assert isinstance(done, TranscriptionDone)
    assert done.generation_ms > 0
    assert [segment.id for segment in segments if isinstance(segment, Segment)] == list(range(len(segments)))


async def test_words_lie_in_their_segments_and_spell_them(whisper: WhisperSpeech, narration: Media) -> None:
    events = await events_of(whisper, TranscriptionRequest(narration))
    for segment in (event for event in events if isinstance(event, Segment)):
        assert "".join(word.text for word in segment.words) == segment.text
        assert all(word.text.startswith(" ") for word in segment.words)
        times = [time for word in segment.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert segment.start <= times[0] <= times[-1] <= segment.end + 0.01
        assert all(0 <= word.probability <= 1 for word in segment.words)
        assert type(segment.words[0].start) is float  # A numpy scalar would not cross the seam.
        assert type(segment.tokens[0]) is int


async def test_without_word_timestamps_there_are_no_words(whisper: WhisperSpeech, narration: Media) -> None:
    events = await events_of(
        whisper, TranscriptionRequest(narration, language="en", word_timestamps=False, beam_size=1)
    )
    assert all(event.words == () for event in events if isinstance(event, Segment))
    assert spoken(events).startswith("the horse lifted")


async def test_a_file_on_disk_prompt_hotwords_and_vad_are_taken(whisper: WhisperSpeech) -> None:
    request = TranscriptionRequest(
        Media("audio/ogg", path=str(NARRATION)),
        prompt="About Eadweard Muybridge.",
        hotwords=("Muybridge", "camera"),
        vad_filter=True,
        temperature=(0.0,),
    )
    assert "camera" in spoken(await events_of(whisper, request))


async def test_the_language_is_named_among_all_candidates(whisper: WhisperSpeech, narration: Media) -> None:
    detection = await whisper.detect_language(narration)
    assert detection.language == "en"
    assert detection.candidates[0] == ("en", detection.probability)
    assert len(detection.candidates) > 90
    assert sum(p for _, p in detection.candidates) == pytest.approx(1, abs=0.01)
    assert list(detection.candidates) == sorted(detection.candidates, key=lambda c: -c[1])


async def test_silence_is_no_error(whisper: WhisperSpeech, tmp_path: Path) -> None:
    request = TranscriptionRequest(Media("audio/wav", data=_silence(2)), vad_filter=True)
    events = await events_of(whisper, request)
    assert isinstance(events[0], TranscriptionInfo)
    assert events[0].duration_s == 2.0
    assert isinstance(events[-1], TranscriptionDone)
    assert spoken(events) == ""


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("name", ["silence", "noise", "a tune"])
async def test_audio_without_speech_has_no_words(whisper: WhisperSpeech, name: str, chunked: bool) -> None:
    seconds = np.arange(3 * 16_000) / 16_000
    noise = np.random.default_rng(1).standard_normal(len(seconds))
    tune = np.sin(2 * np.pi * 220 * 2 ** (np.floor(seconds * 3) % 5 / 12) * seconds) * np.exp(-3 * (seconds % 0.33))
    samples = {"silence": np.zeros(len(seconds)), "noise": 0.1 * noise, "a tune": 0.3 * tune}[name]
    request = TranscriptionRequest(Media("audio/wav", data=wav(samples.astype(np.float32))), chunked=chunked)
    all_events = await asyncio.gather(*(events_of(whisper, one) for one in (request, request)))  # in one batch
    for events in all_events:
        assert [type(event) for event in events] == [TranscriptionInfo, TranscriptionDone]
        assert isinstance(events[0], TranscriptionInfo)
        assert events[0].language == "en"
        assert events[0].language_probability < 0.05
        assert events[0].duration_s == 3.0


async def test_without_the_detector_whisper_decides_about_silence(whisper: WhisperSpeech) -> None:
    """So what the detector keeps out of a transcript would be there otherwise."""
    request = TranscriptionRequest(Media("audio/wav", data=_silence(4)), vad_filter=False, language="en")
    events = await events_of(whisper, request)
    assert isinstance(events[-1], TranscriptionDone)
    assert spoken(events) != ""


async def test_words_before_a_long_silence_are_all_there_is(whisper: WhisperSpeech, narration: Media) -> None:
    samples = decode_audio(narration, max_seconds=60, deadline_s=60)
    silence = np.zeros(35 * 16_000, np.float32)
    long = Media("audio/wav", data=wav(np.concatenate([silence[: 8 * 16_000], samples, silence])))
    events = await events_of(whisper, TranscriptionRequest(long, word_timestamps=True))
    assert isinstance(events[0], TranscriptionInfo)
    assert events[0].language == "en"
    assert spoken(events).startswith(SENTENCES)
    assert all(segment.end < 8 + len(samples) / 16_000 + 2 for segment in events if isinstance(segment, Segment))


async def test_silence_has_no_language(whisper: WhisperSpeech) -> None:
    detection = await whisper.detect_language(Media("audio/wav", data=_silence(2)))
    assert detection.language == "en"
    assert len({p for _, p in detection.candidates}) == 1
    assert detection.probability == pytest.approx(1 / len(detection.candidates))


@pytest.mark.parametrize("samples", [1, 160])
async def test_the_shortest_sounds_are_no_error(whisper: WhisperSpeech, samples: int) -> None:
    click = Media("audio/wav", data=_silence(samples / 16_000))
    events = await events_of(whisper, TranscriptionRequest(click, beam_size=1, temperature=(0.0,)))
    assert isinstance(events[-1], TranscriptionDone)
    assert len((await whisper.detect_language(click)).candidates) > 90


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"language": "xx"}, "language"),
        ({"language": "english"}, "language"),
        ({"languages": ("en", "xx")}, "languages"),
        ({"beam_size": 0}, "beam_size"),
        ({"temperature": ()}, "temperature"),
        ({"temperature": (float("nan"),)}, "temperature"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(
    whisper: WhisperSpeech, narration: Media, change: dict, param: str
) -> None:
    with pytest.raises(UnsupportedOption) as refused:
        await events_of(whisper, TranscriptionRequest(narration, **change))
    assert refused.value.param == param


async def test_promise_19_uploads_are_decoded_under_limits(files: ModelFiles, narration: Media) -> None:
    adapter = await WhisperSpeech.load(ModelFiles("w", files.backend, files.path, {"max_audio_s": 5}), lambda _: None)
    try:
        with pytest.raises(InvalidMedia, match="maximum of 5 seconds"):
            await events_of(adapter, TranscriptionRequest(narration))
        with pytest.raises(InvalidMedia):
            await events_of(
                adapter, TranscriptionRequest(Media("audio/wav", data=b"ffconcat version 1.0\nfile /etc/hosts\n"))
            )
        assert (await adapter.detect_language(narration)).language == "en"  # Hears the beginning only.
    finally:
        await adapter.unload()


async def test_closing_stops_between_segments_and_frees_the_model(whisper: WhisperSpeech, narration: Media) -> None:
    async with aclosing(whisper.transcribe(TranscriptionRequest(narration, language="en"))) as events:
        async for event in events:
            if isinstance(event, Segment):
                break
    assert spoken(await events_of(whisper, TranscriptionRequest(narration, language="en", beam_size=1)))


async def test_unload_interrupts_and_ends(files: ModelFiles, narration: Media) -> None:
    adapter = await WhisperSpeech.load(files, lambda _: None)
    running = asyncio.create_task(events_of(adapter, TranscriptionRequest(narration)))
    queued = asyncio.create_task(events_of(adapter, TranscriptionRequest(narration)))
    await asyncio.sleep(0.1)
    await asyncio.wait_for(adapter.unload(), 20)
    await adapter.unload()
    outcomes = await asyncio.gather(running, queued, return_exceptions=True)
    assert all(isinstance(outcome, Interrupted) for outcome in outcomes)
    assert not adapter.alive
    with pytest.raises(Interrupted):
        await events_of(adapter, TranscriptionRequest(narration))


async def test_missing_and_broken_files_are_refused(files: ModelFiles, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadFailed, match=r"has no config\.json, model\.bin"):
        await WhisperSpeech.load(ModelFiles("w", files.backend, str(tmp_path)), lambda _: None)
    for name in ("config.json", "tokenizer.json", "vocabulary.json"):
        shutil.copy(Path(files.path) / name, tmp_path)
    (tmp_path / "model.bin").write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(ModelLoadFailed, match="damaged") as refused:
        await WhisperSpeech.load(ModelFiles("w", files.backend, str(tmp_path)), lambda _: None)
    assert str(tmp_path) not in refused.value.message


async def test_company_changes_no_text_and_no_word(whisper: WhisperSpeech, narration: Media) -> None:
    samples = decode_audio(narration, max_seconds=60, deadline_s=60)
    sounds = [wav(samples[: len(samples) * part // 6]) for part in (3, 4, 5, 6)]
    asked = [TranscriptionRequest(Media("audio/wav", data=one), language="en", temperature=(0.0,)) for one in sounds]
    alone = [await events_of(whisper, request) for request in asked]
    together = await asyncio.gather(*(events_of(whisper, request) for request in asked))
    for one, other in zip(alone, together, strict=True):
        assert spoken(one) == spoken(other)
        assert [(w.text, w.start, w.end) for w in words_of(one)] == [
            (w.text, pytest.approx(w.start, abs=0.05), pytest.approx(w.end, abs=0.05)) for w in words_of(other)
        ]
    assert max(whisper._batcher.batches) > 1


async def test_the_words_are_those_of_faster_whisper_itself(whisper: WhisperSpeech, narration: Media) -> None:
    samples = decode_audio(narration, max_seconds=60, deadline_s=60)
    direct = WhisperModel.__new__(WhisperModel)
    direct.__dict__ |= whisper._whisper.__dict__
    segments, _ = direct.transcribe(samples, language="en", beam_size=5, temperature=[0.0], word_timestamps=True)
    expected = " ".join(re.sub(r"[^a-z0-9 ]", "", "".join(one.text for one in segments).lower()).split())
    request = TranscriptionRequest(narration, language="en", temperature=(0.0,))
    assert spoken(await events_of(whisper, request)) == expected


async def test_a_long_sound_is_written_down_in_chunks(whisper: WhisperSpeech, narration: Media) -> None:
    samples = decode_audio(narration, max_seconds=60, deadline_s=60)
    pause = np.zeros(25 * 16_000, np.float32)
    long = Media("audio/wav", data=wav(np.concatenate([samples, pause, samples, pause, samples])))
    events = await events_of(whisper, TranscriptionRequest(long, chunked=True, vad_filter=True, temperature=(0.0,)))
    assert spoken(events).count("the horse lifted") == 3
    segments = [event for event in events if isinstance(event, Segment)]
    assert [segment.id for segment in segments] == list(range(len(segments)))
    times = [time for word in words_of(events) for time in (word.start, word.end)]
    assert times == sorted(times)
    horses = [word.start for word in words_of(events) if "horse" in word.text.lower()]
    assert [round(later - earlier) for earlier, later in pairwise(horses[:3])] == [35, 35]


@pytest.mark.parametrize("short_window_s", [13.0, 30.0])
async def test_shorter_and_longer_windows_write_the_same_words(
    files: ModelFiles, narration: Media, short_window_s: float
) -> None:
    options = {**files.options, "short_window_s": short_window_s}
    adapter = await WhisperSpeech.load(ModelFiles("w", files.backend, files.path, options), lambda _: None)
    try:
        request = TranscriptionRequest(narration, language="en", temperature=(0.0,))
        events, click = await asyncio.gather(
            events_of(adapter, request),
            events_of(adapter, TranscriptionRequest(Media("audio/wav", data=_silence(0.01)), temperature=(0.0,))),
        )
    finally:
        await adapter.unload()
    assert spoken(events).startswith(SENTENCES)
    assert words_of(events)[-1].end < 10
    assert isinstance(click[-1], TranscriptionDone)


async def test_chunks_of_silence_are_nothing(whisper: WhisperSpeech) -> None:
    events = await events_of(whisper, TranscriptionRequest(Media("audio/wav", data=_silence(40)), chunked=True))
    assert [type(event) for event in events] == [TranscriptionInfo, TranscriptionDone]


async def test_every_token_of_the_text_has_its_likelihood(whisper: WhisperSpeech, narration: Media) -> None:
    request = TranscriptionRequest(narration, language="en", word_timestamps=False, logprobs=True, temperature=(0.0,))
    segments = [event for event in await events_of(whisper, request) if isinstance(event, Segment)]
    assert segments
    for segment in segments:
        assert b"".join(token.data for token in segment.logprobs).decode() == segment.text
        assert all(token.logprob is not None and token.logprob <= 0 for token in segment.logprobs)
        assert segment.words == ()
    assert sum(token.logprob > -0.5 for segment in segments for token in segment.logprobs) > 10  # sure of most


async def test_only_the_languages_that_are_given_are_detected(whisper: WhisperSpeech, narration: Media) -> None:
    request = TranscriptionRequest(
        narration, languages=("de", "nl"), beam_size=1, temperature=(0.0,), word_timestamps=False
    )
    info = (await events_of(whisper, request))[0]
    assert isinstance(info, TranscriptionInfo)
    assert info.language in ("de", "nl")
    assert 0.5 <= info.language_probability <= 1


async def test_the_longest_prompt_and_keywords_fit(whisper: WhisperSpeech, narration: Media) -> None:
    request = TranscriptionRequest(
        narration,
        language="en",
        prompt="All about horses, and how they run. " * 500,
        hotwords=tuple(f"horse{n}" for n in range(20)),
        temperature=(0.0,),
        beam_size=1,
    )
    assert isinstance((await events_of(whisper, request))[-1], TranscriptionDone)
    with pytest.raises(UnsupportedOption) as refused:
        await events_of(whisper, replace(request, hotwords=("Sallie Gardner",) * 100))
    assert refused.value.param == "keywords"


async def test_a_translation_is_english(whisper: WhisperSpeech, narration: Media) -> None:
    request = TranscriptionRequest(narration, task="translate", word_timestamps=False, temperature=(0.0,))
    assert "horse" in spoken(await events_of(whisper, request))


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs the speech synthesiser espeak-ng")
async def test_any_synthesised_sentence_comes_back(whisper: WhisperSpeech, tmp_path: Path) -> None:
    wav = tmp_path / "speech.wav"
    say = "The morning train leaves the station at nine. Please bring your own coffee."
    _say(say, wav)
    words = spoken(
        await events_of(whisper, TranscriptionRequest(Media("audio/wav", path=str(wav)), language="en"))
    ).split()
    expected = re.sub(r"[^a-z ]", "", say.lower()).split()
    assert len(set(expected) & set(words)) >= len(set(expected)) - 2


def words_of(events: list[SpeechEvent]) -> list[Word]:
    return [word for event in events if isinstance(event, Segment) for word in event.words]


def wav(samples: np.ndarray) -> bytes:
    pcm = (samples * 32767).astype("<i2").tobytes()
    return _silence(len(samples) / 16_000)[: -len(pcm)] + pcm


def _say(text: str, wav: Path) -> None:
    subprocess.run(["espeak-ng", "-v", "en-gb", "-s", "130", "-w", str(wav), text], check=True)


def _silence(seconds: float) -> bytes:
    size = int(seconds * 16_000) * 2
    head = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = b"\x01\0\x01\0" + (16_000).to_bytes(4, "little") + (32_000).to_bytes(4, "little") + b"\x02\0\x10\0"
    return head + form + b"data" + size.to_bytes(4, "little") + bytes(size)
