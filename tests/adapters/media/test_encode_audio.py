"""Sounds as files: every format, written in pieces, decodes to what went in."""

import io
import random
import wave

import av
import numpy as np
import pytest

from adapters.media.encode_audio import SAMPLE_RATE, Recording
from adapters.media.time_stretch import change_tempo

FORMATS = ("audio/mpeg", "audio/ogg", "audio/aac", "audio/flac", "audio/wav")
MAY_PAD_S = {"audio/mpeg": 0.1, "audio/aac": 0.1, "audio/ogg": 0.03}
"""Lossy encoders add silence at the ends; MP3 and raw AAC cannot say how much."""


def tone(seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


def decoded(data: bytes) -> tuple[np.ndarray, int]:
    with av.open(io.BytesIO(data)) as container:
        rate = container.streams.audio[0].rate
        resampler = av.AudioResampler("flt", "mono", rate)
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]), rate


def pitch(sound: np.ndarray, rate: int) -> float:
    middle = sound[len(sound) // 4 : -len(sound) // 4]
    return float(np.fft.rfftfreq(len(middle), 1 / rate)[np.abs(np.fft.rfft(middle)).argmax()])


@pytest.mark.parametrize("media_type", FORMATS)
@pytest.mark.parametrize("seconds", [0.01, 0.5, 3.0])
def test_what_is_written_in_pieces_decodes_whole(media_type: str, seconds: float) -> None:
    chance, sound, recording = random.Random(1), tone(seconds), Recording(media_type)
    out, at = b"", 0
    while at < len(sound):
        step = chance.choice((1, 7, 600, 24_000))
        out += recording.add(sound[at : at + step])
        at += step
    out += recording.add(sound[:0]) + recording.close()
    assert recording.duration_s == pytest.approx(seconds, abs=1e-4)
    heard, rate = decoded(out)
    assert seconds - 0.001 <= len(heard) / rate <= seconds + MAY_PAD_S.get(media_type, 0.001)
    if seconds > 0.1:
        assert pitch(heard, rate) == pytest.approx(440, abs=5)


@pytest.mark.parametrize("media_type", FORMATS)
def test_first_bytes_come_before_the_last_samples(media_type: str) -> None:
    recording = Recording(media_type)
    assert recording.add(tone(1.0)), "a second of sound must give bytes"


def test_pcm_is_the_samples_alone_and_clipped() -> None:
    recording = Recording("audio/pcm")
    data = recording.add(np.array([0, 1, -1, 5, -5], np.float32)) + recording.close()
    assert np.frombuffer(data, "<i2").tolist() == [0, 32767, -32767, 32767, -32767]


def test_a_wav_of_known_length_says_it() -> None:
    recording = Recording("audio/wav", samples=2400)
    data = recording.add(tone(0.1)) + recording.close()
    with wave.open(io.BytesIO(data)) as sound:
        assert (sound.getnframes(), sound.getframerate(), sound.getnchannels()) == (2400, 24_000, 1)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 2.0, 2.667])
def test_tempo_changes_the_length_and_keeps_the_pitch(factor: float) -> None:
    changed = change_tempo(tone(2.0), factor, SAMPLE_RATE)
    assert len(changed) / SAMPLE_RATE == pytest.approx(2.0 / factor, rel=0.06)
    assert pitch(changed, SAMPLE_RATE) == pytest.approx(440, abs=5)


def test_silence_of_no_length_stays_so() -> None:
    assert len(change_tempo(tone(0), 2.0, SAMPLE_RATE)) == 0
