"""Where audio contains speech, by Silero's voice activity detector. Whisper writes words for silence and music, too."""

from typing import Any, NamedTuple

import numpy as np

RATE = 16_000
WINDOW = 512
"""Samples of a window of the detector: 32 ms."""
BLOCK_WINDOWS = 10_000
"""How many windows are judged at once: five minutes, 23 MB. The detector starts each block without a memory."""
LIKELY = 0.5
"""Probability from which a window is speech; the detector's own default."""
MIN_WINDOWS = 3
"""Fewer likely windows in a row, 96 ms, are shorter than any word."""
CERTAIN, AUDIBLE_SHARE, AUDIBLE_DB = 0.85, 0.1, 30.0
"""Below this probability, speech has to make up this share of what is at most this much below the loudest part. Tunes
reach 0.9 for a moment. Words of 0.2 s reach 0.9, and whispering 0.8, but for most of the time."""
POSSIBLE = 0.2
"""Probability from which a window may be speech: faint voices beside loud ones. Silence and noise stay below."""
MARGIN_S = 0.3
"""By how much the times of Whisper's segments may be off."""
LOUD, MAX_GAIN = 0.5, 20.0


class Speech(NamedTuple):
    """Where there is speech in some audio."""

    start_s: float
    """The start of the first word, about."""
    possible: Any
    """bool [windows]: whether a window of 32 ms may be speech."""

    def overlaps(self, start_s: float, end_s: float) -> bool:
        """Whether there may be speech between two times, in seconds."""
        first = max(0, int((start_s - MARGIN_S) * RATE / WINDOW))
        return bool(self.possible[first : int((end_s + MARGIN_S) * RATE / WINDOW) + 1].any())


def find_speech(audio: Any) -> Speech | None:
    """Looks for speech.

    Args:
        audio: float32 [samples], mono, 16 kHz, -1..1. Quiet audio is amplified first.

    Returns:
        None for silence, noise and music.
    """
    audio = amplified(audio)
    probability = _probabilities(audio)
    likely = probability >= LIKELY
    edges = np.flatnonzero(np.diff(np.concatenate(([0], likely.astype(np.int8), [0])))).reshape(-1, 2)
    runs = [(first, last) for first, last in edges.tolist() if last - first >= MIN_WINDOWS]
    if not runs:
        return None
    if max(float(probability[first:last].max()) for first, last in runs) < CERTAIN:
        power = np.square(_windows(audio)).mean(axis=1)
        audible = power > power.max() * 10 ** (-AUDIBLE_DB / 10)
        if sum(last - first for first, last in runs) < AUDIBLE_SHARE * np.count_nonzero(audible):
            return None
    return Speech(runs[0][0] * WINDOW / RATE, probability >= POSSIBLE)


def amplified(audio: Any) -> Any:
    """The audio for the detector, amplified if it is quiet."""
    peak = float(np.quantile(np.abs(audio[:: max(1, len(audio) // 1_000_000)]), 0.999))
    return audio * min(LOUD / peak, MAX_GAIN) if 0 < peak < LOUD else audio


def _probabilities(audio: Any) -> Any:
    """float32 [windows]."""
    from faster_whisper.vad import get_vad_model

    # INTERNAL faster-whisper==1.2.1: the detector changes its argument in place, so it gets a copy.
    detector, windows = get_vad_model(), _windows(audio)
    blocks = range(0, len(windows), BLOCK_WINDOWS)
    return np.concatenate([detector(windows[at : at + BLOCK_WINDOWS].flatten()).reshape(-1) for at in blocks])


def _windows(audio: Any) -> Any:
    """float32 [windows, 512]; the last one is padded with silence."""
    return np.pad(np.asarray(audio, np.float32), (0, -len(audio) % WINDOW)).reshape(-1, WINDOW)
