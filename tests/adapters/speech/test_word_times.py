"""Word times of fluent speech (C7), against the true ones and faster-whisper's own. More: benchmarks/word_times.py."""

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_whisper import WhisperModel
from support.servers import CACHE

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from timed_speech import TEXTS, Clip, espeak, has_espeak, paused
from word_times import FAR_S, faults, start_errors

from adapters.base import Media, ModelFiles, Segment, TranscriptionRequest, Word
from adapters.catalog.catalog import CATALOG, load_catalog
from adapters.errors import ModelLoadFailed
from adapters.loader.fetch import fetch
from adapters.speech.whisper import WhisperSpeech


@pytest.mark.skipif(not has_espeak(), reason="needs the library of the speech synthesiser espeak-ng")
async def test_word_times_are_better_than_faster_whispers_and_never_empty() -> None:
    fluent = [
        espeak("fluent", TEXTS["narration"][0], "en-us", 175),
        espeak("fluent", TEXTS["digits"][0], "gmw/en", 160),
        espeak("fluent", TEXTS["questions"][1], "en-us+f3", 200),
    ]
    clips = [*fluent, paused(fluent[2], random.Random(4))]
    entry = load_catalog().models["whisper-base"]
    try:
        path = await fetch(
            "whisper-base",
            entry.sources,
            CACHE / "models",
            lambda _: None,
            backend=entry.backend,
            base_dir=CATALOG.parent,
        )
    except ModelLoadFailed as error:
        pytest.skip(f"needs the weights of Whisper base: {error}")
    adapter = await WhisperSpeech.load(
        ModelFiles("whisper-base", entry.backend, str(path), {"device": "cpu", "cpu_threads": 2}), lambda _: None
    )
    try:
        own: Any = WhisperModel.__new__(WhisperModel)
        own.__dict__ |= adapter._whisper.__dict__

        def direct(clip: Clip) -> list[Word]:
            segments, _ = own.transcribe(clip.audio, language="en", beam_size=5, word_timestamps=True)
            return [Word(w.start, w.end, w.word, w.probability) for segment in segments for w in segment.words]

        served: list[list[float]] = []
        for clip in clips:
            request = TranscriptionRequest(Media("audio/wav", clip.wav), language="en")
            segments = [event async for event in adapter.transcribe(request) if isinstance(event, Segment)]
            words = [word for segment in segments for word in segment.words]
            assert faults(clip, words) == 0
            assert all(segment.end <= clip.seconds + 0.0005 for segment in segments)
            served.append(start_errors(clip, words))
        theirs = [start_errors(clip, await asyncio.to_thread(direct, clip)) for clip in (clips[1], clips[3])]
    finally:
        await adapter.unload()
    off = np.abs(np.concatenate(served[:3]))
    assert len(off) > 40
    assert np.mean(off > FAR_S) <= 0.05  # two words
    assert np.median(off) <= 0.04
    for ours, other in zip((served[1], served[3]), theirs, strict=True):
        assert np.mean(np.abs(ours) > FAR_S) <= np.mean(np.abs(other) > FAR_S)
        assert np.median(np.abs(ours)) <= np.median(np.abs(other))
