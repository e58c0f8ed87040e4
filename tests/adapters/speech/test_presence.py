"""Silence, noise and tunes are not speech; the shortest words are."""

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.servers import ROOT

from adapters.base import Media
from adapters.media.decode_audio import decode_audio
from adapters.speech.presence import RATE, WINDOW, find_speech

SECONDS = np.arange(8 * RATE) / RATE
NOISE = np.random.default_rng(3).standard_normal(len(SECONDS))


def _chord(*hertz: float) -> np.ndarray:
    tones = [np.sin(2 * np.pi * one * SECONDS) + 0.4 * np.sin(4 * np.pi * one * SECONDS) for one in hertz]
    return np.sum(tones, axis=0) * np.exp(-3 * (SECONDS % 0.5)) * 0.2


def _tune(seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    beat = np.arange(RATE // 3) / RATE
    notes = 220 * 2 ** (draw.integers(0, 15, 24) / 12)
    tones = [np.sin(2 * np.pi * one * beat) + 0.5 * np.sin(4 * np.pi * one * beat) for one in notes]
    return np.concatenate([tone * np.exp(-2 * beat) * 0.2 for tone in tones])


NOT_SPEECH = {
    "silence": np.zeros(8 * RATE),
    "faint noise": 1e-4 * NOISE,
    "noise": 0.1 * NOISE,
    "loud noise": 0.4 * NOISE,
    "rain": 0.05 * np.convolve(NOISE, (1, 0.5, 0.25), "same"),
    "a fan": 0.05 * NOISE * (1 + np.sin(2 * np.pi * 4 * SECONDS)),
    "hum": 0.1 * np.sin(2 * np.pi * 50 * SECONDS),
    "a tone": 0.3 * np.sin(2 * np.pi * 440 * SECONDS),
    "beeps": 0.3 * np.sin(2 * np.pi * 1000 * SECONDS) * (SECONDS % 1 < 0.3),
    "a siren": 0.3 * np.sin(2 * np.pi * (100 + 300 * SECONDS) * SECONDS),
    "clicks": (np.random.default_rng(1).random(len(SECONDS)) < 0.0005) * 0.8,
    "a chord": _chord(262, 330, 392),
    "two chords": np.concatenate([_chord(131, 196, 330), _chord(147, 220, 370)]),
    "a tune": _tune(1),
    "another tune": _tune(8),
    "a tune after a pause": np.concatenate([np.zeros(RATE // 2), _tune(4)]),
    "a tune in noise": _tune(5) + 0.01 * NOISE[: len(_tune(5))],
    "one sample": np.zeros(1),
}


@pytest.mark.parametrize("name", NOT_SPEECH)
def test_silence_noise_and_music_are_not_speech(name: str) -> None:
    assert find_speech(NOT_SPEECH[name].astype(np.float32)) is None


@pytest.fixture(scope="module")
def narration() -> np.ndarray:
    media = Media("audio/ogg", path=str(ROOT / "examples" / "narration.ogg"))
    return decode_audio(media, max_seconds=60, deadline_s=60)


@pytest.mark.parametrize("gain", [1.0, 0.1, 0.003])
def test_speech_is_found_however_faint(narration: np.ndarray, gain: float) -> None:
    speech = find_speech(narration * gain)
    assert speech is not None
    assert speech.start_s < 1
    assert speech.overlaps(0, 2)


def test_a_pause_after_speech_may_not_be_speech(narration: np.ndarray) -> None:
    silence = np.zeros(40 * RATE, np.float32)
    speech = find_speech(np.concatenate([silence, narration, silence]))
    assert speech is not None
    assert 39 < speech.start_s < 42
    assert not speech.overlaps(0, 30)
    assert not speech.overlaps(len(narration) / RATE + 42, len(narration) / RATE + 70)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs the speech synthesiser espeak-ng")
@pytest.mark.parametrize("word", ["Yes.", "No.", "Stop!", "Hi.", "One", "Why?"])
@pytest.mark.parametrize(("voice", "speed"), [("en-us", 175), ("en-gb+f3", 210), ("en-us+m3", 260)])
def test_a_word_is_enough(word: str, voice: str, speed: int, tmp_path: Path) -> None:
    path = tmp_path / "word.wav"
    subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", str(path), word], check=True)
    audio = decode_audio(Media("audio/wav", path=str(path)), max_seconds=9, deadline_s=9)
    draw = np.random.default_rng(2)
    room = np.concatenate([np.zeros(2 * RATE, np.float32), audio, np.zeros(3 * RATE, np.float32)])
    noisy = room + 0.005 * draw.standard_normal(len(room)).astype(np.float32)
    for variant in (audio, audio[: round(0.4 * RATE)], room, audio * 0.01, noisy):
        assert find_speech(variant) is not None


@given(st.integers(1, 3 * WINDOW), st.floats(0, 2, width=32))
@settings(max_examples=30, deadline=None)
def test_audio_of_any_length_is_judged_and_not_changed(length: int, gain: float) -> None:
    audio = (NOISE[:length] * gain).astype(np.float32)
    before = audio.copy()
    find_speech(audio)
    assert (audio == before).all()


def test_blocks_bound_the_memory(narration: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = find_speech(narration)
    monkeypatch.setattr("adapters.speech.presence.BLOCK_WINDOWS", 50)
    started = time.process_time()
    parts = find_speech(narration)
    assert time.process_time() - started < 10
    assert whole is not None
    assert parts is not None
    assert abs(whole.start_s - parts.start_s) < 0.2
    assert np.mean(whole.possible == parts.possible) > 0.85
