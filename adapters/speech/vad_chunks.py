"""Where to cut a long sound: in the pauses that a voice detector hears, so that no word is cut in two."""

from typing import Any

import numpy as np

from adapters.base import VoiceDetection

RATE = 16_000
MAX_CHUNK_S = 30.0
"""Whisper's window."""
SILENCE_MS, PAD_MS = 2000, 400
"""faster-whisper's own: of silence that ends speech, and of what is kept before and after speech."""
CHUNK_SILENCE_MS = 160
"""For chunks any short pause will do: stretches that it parts are put together again, as many as fit."""
LOUD = 0.5
MAX_GAIN = 20.0


def options(voice: VoiceDetection, **defaults: Any) -> Any:
    """The detector's options as faster-whisper wants them: what the request says, else these defaults, else its own."""
    from faster_whisper.vad import VadOptions

    said = {
        "threshold": voice.threshold,
        "min_silence_duration_ms": voice.min_silence_ms,
        "speech_pad_ms": voice.padding_ms,
    }
    return VadOptions(**defaults | {name: value for name, value in said.items() if value is not None})


def spans(sound: Any, voice: VoiceDetection) -> list[tuple[int, int]]:
    """Stretches of a sound that are to be written down one by one.

    Args:
        sound: float32 [samples], 16 kHz, mono.
        voice: Settings of the detector. Where it says nothing of a threshold, the sound is made loud for it first.

    Returns:
        (first, last + 1) sample of each: in order, not overlapping, none longer than Whisper's window. Empty where
        nobody speaks.
    """
    from faster_whisper.vad import get_speech_timestamps

    before = round((PAD_MS if voice.padding_ms is None else voice.padding_ms) * RATE / 1000)
    after = round(PAD_MS * RATE / 1000)
    longest = round(MAX_CHUNK_S * RATE)
    detector = options(
        VoiceDetection(voice.threshold, voice.min_silence_ms, 0), min_silence_duration_ms=CHUNK_SILENCE_MS
    )
    detector.max_speech_duration_s = (longest - before - after) / RATE
    found = get_speech_timestamps(_loud(sound) if voice.threshold is None else sound, detector)
    return joined(
        [(one["start"], one["end"]) for one in found], len(sound), before=before, after=after, longest=longest
    )


def joined(
    speech: list[tuple[int, int]], length: int, *, before: int, after: int, longest: int
) -> list[tuple[int, int]]:
    """Stretches of speech with some silence around them, put together as long as they fit.

    Args:
        speech: (start, end) in samples, in order.
        length: Of the whole sound.
        before: Samples to keep before speech.
        after: Samples to keep after speech.
        longest: Samples of a stretch.
    """
    padded: list[tuple[int, int]] = []
    for number, (start, end) in enumerate(speech):
        earlier = speech[number - 1][1] if number else 0
        later = speech[number + 1][0] if number + 1 < len(speech) else length
        # A pause too short for both sides' silence is parted in its middle.
        first = max(start - before, 0 if not number else (earlier + start) // 2)
        last = min(end + after, length if number + 1 == len(speech) else (end + later) // 2)
        if padded and last - padded[-1][0] <= longest:
            padded[-1] = (padded[-1][0], last)
        else:
            padded.append((first, min(last, first + longest)))
    return padded


def _loud(sound: Any) -> Any:
    """The sound for the detector, louder where it is faint."""
    peak = float(np.quantile(np.abs(sound[:: max(1, len(sound) // 1_000_000)]), 0.999))
    return sound * min(LOUD / peak, MAX_GAIN) if 0 < peak < LOUD else sound
