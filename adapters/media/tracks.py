"""Untrusted sounds to the sound tracks of films: AAC in an MP4 of its own, that films take packet by packet."""

from contextlib import closing
from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame

from adapters.base import Media
from adapters.errors import InvalidMedia
from adapters.media.sounds import clean, decoded_sound

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
    most, written = round(max_seconds * RATE), 0
    pieces = decoded_sound(
        Media("application/octet-stream", path=source), deadline_s=deadline_s, layout="stereo", rate=RATE, param=param
    )
    with closing(pieces), av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo")
        stream.bit_rate = BIT_RATE
        for piece in pieces:
            samples = clean(np.frombuffer(bytearray(piece), np.float32)).reshape(-1, 2)[: most - written]
            if len(samples):
                frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="stereo")
                frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), written
                container.mux(stream.encode(frame))
                written += len(samples)
            if written >= most:
                break
        if not written:
            raise InvalidMedia("The sound track is empty or damaged: no sound could be decoded.", param=param)
        container.mux(stream.encode(None))
    return written / RATE
