"""Samples to audio files, written incrementally while the samples are generated."""

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
    "audio/mpeg": ("mp3", "libmp3lame", 64_000, {"write_xing": "0"}),  # A Xing header would be written at the end.
    "audio/ogg": ("ogg", "libopus", 48_000, {"page_duration": "200000"}),
    "audio/aac": ("adts", "aac", 64_000, {}),
    "audio/flac": ("flac", "flac", 0, {}),
}
"""By media type: FFmpeg's muxer and encoder, bits per second, and the muxer's options."""

_UNKNOWN = 0xFFFFFFFF
"""An unknown size in a WAV header: players read to the end of the file."""


class Recording:
    """An audio file that is only appended to, so the bytes that `add` returns can be sent immediately."""

    def __init__(self, media_type: str, *, samples: int | None = None) -> None:
        """Starts a file.

        Args:
            media_type: One of `SynthesisRequest.media_type`.
            samples: Total number of samples, for the header of a WAV file; None: unknown.
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
        """The file's next bytes; may be empty.

        Args:
            samples: float32 [samples], mono, 24 kHz; clipped to -1..1.
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
        """Duration of the samples added so far."""
        return self._written / SAMPLE_RATE


class _Sink:
    """The output of a container. It has no `seek`, so FFmpeg writes strictly forwards."""

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
    """For 16 bit, mono (RFC 2361, and Microsoft's "Multimedia Programming Interface and Data Specifications 1.0")."""
    size = _UNKNOWN if samples is None else 2 * samples
    riff = _UNKNOWN if samples is None else size + 36
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + form + struct.pack("<4sI", b"data", size)
