"""Sounds to the sound tracks of films: AAC in an MP4 of its own, that films take packet by packet.

Untrusted ones, that clients send, and those that models make beside their pictures.
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
from adapters.media.decode_audio import clean, decoded_sound

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 48_000
"""Hz, of all tracks; two channels."""
BIT_RATE = 160_000


def take_sound(source: str, target: str, *, max_seconds: float, deadline_s: float, param: str = "audio") -> float:
    """Writes a sound as AAC, 48 kHz, stereo; returns its length in seconds.

    Args:
        source: Path of a sound in any format that transcriptions take, or of a video with a sound track.
        target: Where it goes.
        max_seconds: What lies behind is left out: no film that it is for is longer.
        deadline_s: Seconds of wall clock after which decoding is given up.
        param: The request's field that `InvalidMedia` names.

    Raises:
        InvalidMedia: No sound, not a known format, damaged, or too slow to decode.
    """
    written = _write(_span(source, 0, round(max_seconds * RATE), deadline_s, param), target)
    if not written:
        raise InvalidMedia("The sound track is empty or damaged: no sound could be decoded.", param=param)
    return written / RATE


def mix_sounds(pieces: Sequence[tuple[str, int, int]], fps: int, target: str, *, deadline_s: float) -> None:
    """Writes the sounds of clips, one behind the other as a film shows them, as one track; as `take_sound` does.

    Args:
        pieces: Path of the clip's sound, or "" where it has none; its first frame that is shown, and how many. Each
            sound begins with its clip; what of it is missing is silence.
        fps: Frames a second.
        target: Where it goes.
        deadline_s: Seconds of wall clock for each.

    Raises:
        InvalidMedia: A sound cannot be read.
    """
    _write(_mixed(pieces, fps, deadline_s), target)


def wav(samples: "NDArray[np.float32]", rate: int) -> bytes:
    """A WAV, 16 bit.

    Args:
        samples: float32 [channels, samples]; what lies outside of -1..1 is clipped.
        rate: Hz.
    """
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1.0, 1.0) * 32767).round().astype("<i2").T.tobytes())
    return out.getvalue()


def _mixed(pieces: Sequence[tuple[str, int, int]], fps: int, deadline_s: float) -> "Iterator[NDArray[np.float32]]":
    shown = 0
    for path, first, frames in pieces:
        # From the film's beginning on, so that no rounding adds up.
        left = round((shown + frames) * RATE / fps) - round(shown * RATE / fps)
        shown += frames
        for samples in _span(path, round(first * RATE / fps), left, deadline_s, "sound") if path else ():
            left -= len(samples)
            yield samples
        while left > 0:
            silence = np.zeros((min(left, RATE), 2), np.float32)
            left -= len(silence)
            yield silence


def _span(path: str, skip: int, most: int, deadline_s: float, param: str) -> "Iterator[NDArray[np.float32]]":
    """Samples of a sound, float32 [samples, 2]: behind the first `skip`, so many at most."""
    pieces = decoded_sound(
        Media("application/octet-stream", path=path), deadline_s=deadline_s, layout="stereo", rate=RATE, param=param
    )
    with closing(pieces):
        for piece in pieces:
            samples = clean(np.frombuffer(bytearray(piece), np.float32)).reshape(-1, 2)
            skipped = min(skip, len(samples))
            skip, samples = skip - skipped, samples[skipped:][:most]
            most -= len(samples)
            if len(samples):
                yield samples
            if not most:
                return


def _write(pieces: "Iterator[NDArray[np.float32]]", target: str) -> int:
    """Encodes float32 [samples, 2]; returns how many samples there were."""
    written = 0
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo")
        stream.bit_rate = BIT_RATE
        for samples in pieces:
            frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="stereo")
            frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), written
            container.mux(stream.encode(frame))
            written += len(samples)
        if written:
            container.mux(stream.encode(None))
    return written
