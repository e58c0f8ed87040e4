"""Output of the fake speech and voice models."""

import io
import wave
from collections.abc import Iterator

from adapters.base import (
    AudioChunk,
    CandidateToken,
    Media,
    Segment,
    SpeechEvent,
    SynthesisDone,
    SynthesisRequest,
    TranscriptionDone,
    TranscriptionInfo,
    TranscriptionRequest,
    Usage,
    VoiceEvent,
    Word,
)
from adapters.errors import InvalidMedia
from adapters.fake.script import DIRECTIVE

PITCHES = {"alloy": 440, "ash": 392, "echo": 330, "nova": 550}
"""Pitch of each voice in Hz."""
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def wav_seconds(audio: Media) -> float:
    """The duration of a WAV file. Raises `InvalidMedia` for other files."""
    try:
        with wave.open(audio.path or io.BytesIO(audio.data)) as file:
            return file.getnframes() / file.getframerate()
    except (wave.Error, EOFError, ZeroDivisionError):
        raise InvalidMedia("The fake speech model reads WAV files only. Send a WAV file.", param="file") from None


def speech_events(request: TranscriptionRequest) -> Iterator[SpeechEvent]:
    """The events of `FakeSpeech`: segments of five words."""
    seconds = wav_seconds(request.audio)
    language = request.language or next(iter(request.languages), "en")
    yield TranscriptionInfo(language, 1.0 if request.language else 0.75, seconds)
    count = int(seconds)
    for index, start in enumerate(range(0, count, 5)):
        words = tuple(
            Word(float(at), at + 0.9, f" {NUMBERS[at % 10]}", 0.9) for at in range(start, min(start + 5, count))
        )
        yield Segment(
            id=index,
            start=words[0].start,
            end=words[-1].end,
            text="".join(word.text for word in words),
            tokens=tuple(range(len(words))),
            temperature=request.temperature[0],
            avg_logprob=-0.1,
            compression_ratio=1.0,
            no_speech_prob=0.01,
            words=words if request.word_timestamps else (),
            logprobs=tuple(CandidateToken(word.text, word.text.encode(), -0.1) for word in words if request.logprobs),
        )
    yield TranscriptionDone(1.0)


def voice_events(request: SynthesisRequest) -> Iterator[VoiceEvent]:
    """The events of `FakeVoice`: one tone per word."""
    import numpy as np

    from adapters.media.encode_audio import SAMPLE_RATE, Recording

    words = DIRECTIVE.sub("", request.text).split()
    length = round(SAMPLE_RATE / 4 / request.speed)
    recording = Recording(request.media_type, samples=length * len(words))
    for number in range(len(words)):
        times = np.arange(number * length, (number + 1) * length) / SAMPLE_RATE
        pitch = PITCHES[request.voice or "alloy"]
        yield AudioChunk(recording.add((0.3 * np.sin(2 * np.pi * pitch * times)).astype(np.float32)))
    yield AudioChunk(recording.close())
    yield SynthesisDone(recording.duration_s, 1.0, Usage(len(words), len(words)))
