"""Where sounds are cut, and how much of them is held."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.servers import ROOT

from adapters.base import Media, VoiceDetection
from adapters.media.decode_audio import decode_audio
from adapters.speech import vad_chunks
from adapters.speech.audio_budget import AudioBudget

RATE = vad_chunks.RATE


@given(st.lists(st.integers(1, 400_000), max_size=40), st.integers(0, 80_000), st.integers(0, 6400))
def test_stretches_are_in_order_apart_and_hold_all_speech(steps: list[int], before: int, after: int) -> None:
    longest = 30 * RATE
    edges = np.cumsum(steps).tolist()
    speech = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False) if b - a <= longest - before - after]
    length = (edges[-1] if edges else 0) + 1000
    spans = vad_chunks.joined(speech, length, before=before, after=after, longest=longest)
    assert all(0 <= start < end <= length for start, end in spans)
    assert all(end - start <= longest for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    assert all(any(start <= a and b <= end for start, end in spans) for a, b in speech)


def test_pauses_that_fit_are_kept_and_long_sounds_are_parted() -> None:
    seconds = [(1, 5), (6, 20), (22, 29), (40, 60), (61, 69)]
    speech = [(a * RATE, b * RATE) for a, b in seconds]
    spans = vad_chunks.joined(speech, 75 * RATE, before=RATE // 2, after=RATE // 2, longest=30 * RATE)
    assert [(a / RATE, b / RATE) for a, b in spans] == [(0.5, 29.5), (39.5, 69.5)]


@pytest.fixture(scope="module")
def narration() -> np.ndarray:
    media = Media("audio/ogg", path=str(ROOT / "examples" / "narration.ogg"))
    return decode_audio(media, max_seconds=60, deadline_s=60)


def test_speech_is_found_and_silence_is_not(narration: np.ndarray) -> None:
    pause = np.zeros(40 * RATE, np.float32)
    sound = np.concatenate([narration, pause, narration])
    first, second = vad_chunks.spans(sound, VoiceDetection())
    assert first[1] <= len(narration) + RATE
    assert second[0] >= len(narration) + len(pause) - RATE
    assert vad_chunks.spans(pause, VoiceDetection()) == []


def test_a_faint_voice_is_heard_unless_a_threshold_says_how(narration: np.ndarray) -> None:
    assert vad_chunks.spans(narration * 0.003, VoiceDetection())
    assert vad_chunks.spans(narration, VoiceDetection(threshold=1.0)) == []


def test_silence_and_padding_part_and_widen(narration: np.ndarray) -> None:
    sound = np.concatenate([narration, np.zeros(40 * RATE, np.float32)])
    tight, wide = (vad_chunks.spans(sound, VoiceDetection(padding_ms=pad))[0] for pad in (0, 300))
    assert wide[0] <= tight[0]
    assert vad_chunks.options(VoiceDetection(0.3, 700, 50)).min_silence_duration_ms == 700
    assert vad_chunks.options(VoiceDetection()).min_silence_duration_ms == 2000


def test_promise_19_so_many_sounds_are_held_and_no_more() -> None:
    budget, lock = AudioBudget(1000), threading.Lock()
    held = most = 0
    decoding = threading.Semaphore(1)

    def decode() -> bytes:
        assert decoding.acquire(blocking=False), "two sounds are decoded at once"
        decoding.release()
        nonlocal held, most
        with lock:
            held += 700
            most = max(most, held)
        return bytes(700)

    def one(_: int) -> None:
        nonlocal held
        with budget.reserve(decode) as sound:
            assert len(sound) == 700
            threading.Event().wait(0.002)
            with lock:
                held -= 700

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(one, range(60)))
    assert 700 < most <= 2000


def test_a_sound_that_cannot_be_decoded_takes_no_room() -> None:
    budget = AudioBudget(1)

    def broken() -> bytes:
        raise ValueError("broken")

    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), budget.reserve(broken):
            pass
    with budget.reserve(lambda: bytes(10)) as sound:
        assert len(sound) == 10
