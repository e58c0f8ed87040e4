"""Samples to bytes: sounds in the formats that people ask for, written piece by piece while they come into being."""

import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from numpy.typing import NDArray

SAMPLE_RATE = 24_000
"""Hz, of everything that is written."""

_ENCODERS = {
    "audio/mpeg": ("mp3", "libmp3lame", 64_000, {"write_xing": "0"}),  # Xing's header would be written at the end.
    "audio/ogg": ("ogg", "libopus", 48_000, {"page_duration": "200000"}),
    "audio/aac": ("adts", "aac", 64_000, {}),
    "audio/flac": ("flac", "flac", 0, {}),
}
"""FFmpeg's muxer and encoder, bits a second, and the muxer's options, by media type."""

_UNKNOWN = 0xFFFFFFFF
"""A size in a WAV's header that nobody knows yet: players read to the end."""


class Recording:
    """A file that grows at its end. Nothing of it is ever written twice, so what `add` returns can be sent at once."""

    def __init__(self, media_type: str, *, samples: int | None = None) -> None:
        """Begins a file.

        Args:
            media_type: One of `SynthesisRequest.media_type`.
            samples: How many there will be, where that is known: a WAV's header then says so.
        """
        self._sink = _Sink()
        self._container: Any = None
        self._written = 0
        if media_type in _ENCODERS:
            muxer, encoder, rate, options = _ENCODERS[media_type]
            self._container = av.open(cast(Any, self._sink), "w", format=muxer, options=options)
            self._stream: AudioStream = self._container.add_stream(encoder, rate=SAMPLE_RATE, layout="mono")
            if rate:
                self._stream.bit_rate = rate
        elif media_type == "audio/wav":
            self._sink.write(_wav_header(samples))

    def add(self, samples: "NDArray[np.float32]") -> bytes:
        """The file's next bytes, perhaps none yet.

        Args:
            samples: float32 [samples], mono, 24 kHz; what lies outside of -1..1 is clipped.
        """
        numbers = (np.clip(samples, -1.0, 1.0) * 32767).astype("<i2")
        if self._container is None:
            self._sink.write(numbers.tobytes())
        elif len(numbers):
            frame = AudioFrame.from_ndarray(numbers.reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), self._written
            self._container.mux(self._stream.encode(frame))
        self._written += len(numbers)
        return self._sink.take()

    def close(self) -> bytes:
        """The file's last bytes."""
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None
        return self._sink.take()

    @property
    def duration_s(self) -> float:
        """Of what was added."""
        return self._written / SAMPLE_RATE


class _Sink:
    """What a container writes to. It has no `seek`, so FFmpeg knows that it cannot go back."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


def _wav_header(samples: int | None) -> bytes:
    """Of 16 bit, mono (RFC 2361, and Microsoft's "Multimedia Programming Interface and Data Specifications 1.0")."""
    size = _UNKNOWN if samples is None else 2 * samples
    riff = _UNKNOWN if samples is None else size + 36
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + form + struct.pack("<4sI", b"data", size)
