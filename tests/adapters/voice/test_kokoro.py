"""Kokoro on its real weights: what it says, how long it takes to stop, and what it refuses."""

import asyncio
import io
import time
import wave
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.servers import model_path

from adapters.base import AudioChunk, ModelFiles, SynthesisDone, SynthesisRequest
from adapters.errors import AdapterError, Interrupted, ModelLoadFailed, UnsupportedOption
from adapters.process.remote import RemoteVoice
from adapters.voice.g2p_model import G2pModel
from adapters.voice.kokoro import OPENAI_VOICES, KokoroVoice
from adapters.voice.lexicon import Lexicon

LONG = "The expedition travelled slowly along the river, " * 80


@pytest.fixture(scope="module")
async def path() -> Path:
    return await model_path("kokoro-82m")


@pytest.fixture(scope="module")
async def voice(path: Path) -> AsyncIterator[KokoroVoice]:
    adapter = await KokoroVoice.load(ModelFiles("kokoro-82m", "kokoro", str(path)), lambda _: None)
    yield adapter
    await adapter.unload()


@pytest.fixture(scope="module")
def lexicon(path: Path) -> Lexicon:
    return Lexicon(path, "us")


async def spoken(adapter: Any, text: str, **more: Any) -> tuple[np.ndarray, SynthesisDone]:
    events = [event async for event in adapter.speak(SynthesisRequest(text, media_type="audio/pcm", **more))]
    data = b"".join(event.data for event in events[:-1])
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768, events[-1]


async def test_it_speaks_and_counts_what_it_said(voice: KokoroVoice) -> None:
    sound, done = await spoken(voice, "Hello there.")
    assert done.duration_s == pytest.approx(len(sound) / 24_000, abs=0.001)
    assert 0.8 < done.duration_s < 2.5
    assert 0.05 < np.abs(sound).max() <= 1
    assert 8 <= done.usage.prompt_tokens <= 14
    assert done.usage.completion_tokens == round(done.duration_s * 40)


async def test_every_openai_name_is_a_voice_of_its_own(voice: KokoroVoice) -> None:
    said = {name: (await spoken(voice, "Hi.", voice=name))[0].tobytes() for name in ("alloy", "onyx", "fable", "echo")}
    assert len(set(said.values())) == 4
    assert (await spoken(voice, "Hi.", voice=OPENAI_VOICES["onyx"]))[0].tobytes() == said["onyx"]
    assert len(set(OPENAI_VOICES.values())) == len(OPENAI_VOICES) == 13
    for name in OPENAI_VOICES:
        voice._voice(name)


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.5, 2.0, 4.0])
async def test_speed_is_kept_over_its_whole_range(voice: KokoroVoice, speed: float) -> None:
    text = "A fox ran over the hill."
    _, usual = await spoken(voice, text)
    _, changed = await spoken(voice, text, speed=speed)
    assert changed.duration_s == pytest.approx(usual.duration_s / speed, rel=0.2)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"voice": "nobody"}, "voice"),
        ({"voice": "../voices"}, "voice"),
        ({"speed": 0.2}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"text": "你好"}, "input"),
        ({"text": "🎉"}, "input"),
        ({"text": ""}, "input"),
    ],
)
async def test_what_it_cannot_do_names_the_field(voice: KokoroVoice, change: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedOption) as error:
        await spoken(voice, **({"text": "Hi."} | change))
    assert error.value.param == param
    assert voice.alive


async def test_the_first_sentence_comes_before_the_last_is_begun(voice: KokoroVoice) -> None:
    begun = time.monotonic()
    request = SynthesisRequest("Hi. " + "This sentence is a good deal longer than the first. " * 4)
    times = [time.monotonic() - begun async for event in voice.speak(request) if isinstance(event, AudioChunk)]
    assert len(times) == 5
    assert times[0] < times[-1] / 2


@pytest.mark.parametrize("remote", [False, True])
async def test_promise_10_closing_it_stops_the_model_in_mid_sentence(path: Path, remote: bool) -> None:
    kind: Any = RemoteVoice if remote else KokoroVoice
    adapter = await kind.load(ModelFiles("kokoro-82m", "kokoro", str(path)), lambda _: None)
    try:
        speech = asyncio.create_task(spoken(adapter, LONG))
        await asyncio.sleep(2.0)
        begun = time.monotonic()
        speech.cancel()
        with pytest.raises(asyncio.CancelledError):
            await speech
        assert time.monotonic() - begun < 1
        await asyncio.wait_for(spoken(adapter, "Hi."), 30)  # the thread is free: the rest of LONG takes minutes
    finally:
        await adapter.unload()


async def test_unloading_interrupts_at_once(path: Path) -> None:
    adapter = await KokoroVoice.load(ModelFiles("kokoro-82m", "kokoro", str(path)), lambda _: None)
    speech = asyncio.create_task(spoken(adapter, LONG))
    await asyncio.sleep(1.0)
    begun = time.monotonic()
    await adapter.unload()
    assert time.monotonic() - begun < 2
    with pytest.raises(Interrupted):
        await speech
    assert not adapter.alive


async def test_a_wav_of_one_sentence_has_its_length_in_its_header(voice: KokoroVoice) -> None:
    async with aclosing(voice.speak(SynthesisRequest("Hi."))) as events:
        data = b"".join([event.data async for event in events if isinstance(event, AudioChunk)])
    with wave.open(io.BytesIO(data)) as sound:
        assert sound.getnframes() * 2 + 44 == len(data)


@pytest.mark.parametrize("name", ["model.onnx", "vocab.json", "us_gold.json", "checkpoint20.npz"])
@pytest.mark.parametrize("content", [b"", b"[]", b"\x80\x04garbage", b"[1, 2]", b"PK\x03\x04"])
async def test_damaged_files_fail_to_load_and_say_so(path: Path, tmp_path: Path, name: str, content: bytes) -> None:
    for file in path.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelLoadFailed) as error:
        await KokoroVoice.load(ModelFiles("x", "kokoro", str(tmp_path)), lambda _: None)
    assert str(tmp_path) not in error.value.message


async def test_a_pickle_in_the_network_is_never_run(path: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(path / "checkpoint20.npz", allow_pickle=False))
    np.savez(tmp_path / "evil.npz", **(arrays | {"fc_b": np.array([object()], object)}), allow_pickle=True)
    with pytest.raises(ModelLoadFailed):
        G2pModel(tmp_path / "evil.npz")


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("The horse saw the apple.", "ðə hˈɔɹs sˈɔ ði ˈæpᵊl."),
        ("STOP the FBI!", "stˈɑp ði ˌɛfbˌiˈI!"),
        ("bridges' galloped watched wanted", "bɹˈɪʤɪz ɡˈæləpt wˈɑʧt wˈɑntᵻd"),
        ("don't I'd John's", "dˈOnt ˌId ʤˈɑnz"),
        ("a cat, an owl", "ɐ kˈæt, ən ˈWl"),
    ],
)
def test_words_are_said_as_english_has_it(lexicon: Lexicon, text: str, phonemes: str) -> None:
    assert lexicon.phonemes(text) == phonemes


@pytest.mark.parametrize("word", ["tokenizer", "muybridge", "zyxt", "q", "x" * 40, "kubernetes"])
def test_the_network_says_something_of_any_word(lexicon: Lexicon, voice: KokoroVoice, word: str) -> None:
    said = lexicon.phonemes(word)
    assert said
    assert set(said) <= set(voice._token_ids)


def test_every_sound_of_the_dictionaries_is_one_that_the_model_knows(path: Path, voice: KokoroVoice) -> None:
    for accent in ("us", "gb"):
        sounds = set("".join(Lexicon(path, accent)._words.values()))
        assert sounds <= set(voice._token_ids), sounds - set(voice._token_ids)


def test_words_without_end_and_apostrophes_are_read_in_time(lexicon: Lexicon) -> None:
    for text in ("x" * 4096, "'" * 4096, "aB" * 2048, "a'" * 2048, "A" * 4096):
        begun = time.process_time()
        try:
            lexicon.phonemes(text)
        except AdapterError:
            pytest.fail("a lexicon refuses nothing")
        assert time.process_time() - begun < 5
