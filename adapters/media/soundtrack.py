"""Audio to soundtracks: AAC in an MP4 file of its own, copied into videos packet by packet.

The audio comes from clients (untrusted), or from models that generate it with their videos.
"""

import io
import wave
from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.frame import AudioFrame

from adapters.base import Media
from adapters.errors import InvalidMedia
from adapters.media.decode_audio import clean_samples, decode_audio_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 48_000
"""Hz, of all soundtracks; they have two channels."""
BIT_RATE = 160_000


def convert_audio(source: str, target: str, *, max_seconds: float, deadline_s: float, param: str = "audio") -> float:
    """Writes audio as AAC, 48 kHz, stereo; returns its length in seconds.

    Args:
        source: Path of audio in any format that transcriptions accept, or of a video with an audio track.
        target: Path of the soundtrack.
        max_seconds: Audio after this is left out, since the video is no longer than that.
        deadline_s: Seconds of wall clock after which decoding stops with an error.
        param: The request's field that `InvalidMedia` names.

    Raises:
        InvalidMedia: No audio, an unsupported format, damaged, or too slow to decode.
    """
    written = _write(_span(source, 0, round(max_seconds * RATE), deadline_s, param), target)
    if not written:
        raise InvalidMedia("The audio track is empty or damaged: nothing could be decoded.", param=param)
    return written / RATE


def join_soundtracks(clips: Sequence[tuple[str, int, int]], fps: int, target: str, *, deadline_s: float) -> None:
    """Joins the soundtracks of clips in order, encoded as `convert_audio` does.

    Args:
        clips: Path of the clip's soundtrack, or "" if it has none; the first frame that is used, and the number of
            frames. A soundtrack starts with its clip; if it is too short, silence follows.
        fps: Frames per second.
        target: Path of the result.
        deadline_s: Seconds of wall clock for each soundtrack.

    Raises:
        InvalidMedia: A soundtrack cannot be read.
    """
    _write(_joined(clips, fps, deadline_s), target)


def wav(samples: "NDArray[np.float32]", rate: int) -> bytes:
    """A WAV file, 16 bit.

    Args:
        samples: float32 [channels, samples]; clipped to -1..1.
        rate: Hz.
    """
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1.0, 1.0) * 32767).round().astype("<i2").T.tobytes())
    return out.getvalue()


def _joined(clips: Sequence[tuple[str, int, int]], fps: int, deadline_s: float) -> "Iterator[NDArray[np.float32]]":
    start = 0
    for path, first, frames in clips:
        # Computed from the start of the video, so that rounding errors do not add up.
        left = round((start + frames) * RATE / fps) - round(start * RATE / fps)
        start += frames
        for samples in _span(path, round(first * RATE / fps), left, deadline_s, "audio") if path else ():
            left -= len(samples)
            yield samples
        while left > 0:
            silence = np.zeros((min(left, RATE), 2), np.float32)
            left -= len(silence)
            yield silence


def _span(path: str, skip: int, count: int, deadline_s: float, param: str) -> "Iterator[NDArray[np.float32]]":
    """At most `count` samples after the first `skip`, as chunks of float32 [samples, 2]."""
    chunks = decode_audio_chunks(
        Media("application/octet-stream", path=path), deadline_s=deadline_s, layout="stereo", rate=RATE, param=param
    )
    with closing(chunks):
        for chunk in chunks:
            samples = clean_samples(np.frombuffer(bytearray(chunk), np.float32)).reshape(-1, 2)
            skipped = min(skip, len(samples))
            skip, samples = skip - skipped, samples[skipped:][:count]
            count -= len(samples)
            if len(samples):
                yield samples
            if not count:
                return


def _write(chunks: "Iterator[NDArray[np.float32]]", target: str) -> int:
    """Encodes chunks of float32 [samples, 2]; returns the number of samples."""
    written = 0
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo")
        stream.bit_rate = BIT_RATE
        for samples in chunks:
            frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="stereo")
            frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), written
            container.mux(stream.encode(frame))
            written += len(samples)
        if written:
            container.mux(stream.encode(None))
    return written
