"""Audio made faster or slower at the same pitch."""

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from av.audio.frame import AudioFrame
from av.filter import Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray


def change_tempo(samples: "NDArray[np.float32]", factor: float, rate: int) -> "NDArray[np.float32]":
    """The same audio in 1 / factor of the time, by FFmpeg's `atempo` filter (overlap-add).

    Args:
        samples: float32 [samples], mono.
        factor: 0.5..4.
        rate: Hz.
    """
    if factor == 1 or not len(samples):
        return samples
    graph = Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate))
    tempo, sink = graph.add("atempo", f"{factor:.6f}"), graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(sink)
    graph.configure()
    frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
    graph.push(frame)
    graph.push(None)
    pieces: list[NDArray[np.float32]] = []
    while True:
        try:
            pulled = graph.pull()
        except (EOFError, BlockingIOError):
            break
        assert isinstance(pulled, AudioFrame)
        pieces.append(pulled.to_ndarray().reshape(-1).astype(np.float32))
    return np.concatenate(pieces) if pieces else samples[:0]
