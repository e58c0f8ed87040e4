"""Cuts long audio in the pauses that voice activity detection finds, so that no word is split."""

from typing import Any

from adapters.base import VoiceDetection
from adapters.speech.presence import amplified

RATE = 16_000
MAX_CHUNK_S = 30.0
"""Whisper's window."""
SILENCE_MS, PAD_MS = 2000, 400
"""faster-whisper's defaults: silence that ends speech, and padding before and after speech."""
CHUNK_SILENCE_MS = 160
"""Chunks may end at any short pause; neighbouring stretches of speech are joined as long as they fit."""


def options(voice: VoiceDetection, **defaults: Any) -> Any:
    """The detector's options: those of the request, then `defaults`, then faster-whisper's own."""
    from faster_whisper.vad import VadOptions

    given = {
        "threshold": voice.threshold,
        "min_silence_duration_ms": voice.min_silence_ms,
        "speech_pad_ms": voice.padding_ms,
    }
    return VadOptions(**defaults | {name: value for name, value in given.items() if value is not None})


def spans(audio: Any, voice: VoiceDetection) -> list[tuple[int, int]]:
    """Cuts audio into spans that are transcribed separately.

    Args:
        audio: float32 [samples], 16 kHz, mono.
        voice: Settings of the detector. Without a threshold, quiet audio is amplified for it first.

    Returns:
        (first, last + 1) sample of each span: in order, not overlapping, none longer than Whisper's window. Empty if
        there is no speech.
    """
    from faster_whisper.vad import get_speech_timestamps

    before = round((PAD_MS if voice.padding_ms is None else voice.padding_ms) * RATE / 1000)
    after = round(PAD_MS * RATE / 1000)
    longest = round(MAX_CHUNK_S * RATE)
    detector = options(
        VoiceDetection(voice.threshold, voice.min_silence_ms, 0), min_silence_duration_ms=CHUNK_SILENCE_MS
    )
    detector.max_speech_duration_s = (longest - before - after) / RATE
    found = get_speech_timestamps(amplified(audio) if voice.threshold is None else audio, detector)
    return joined(
        [(one["start"], one["end"]) for one in found], len(audio), before=before, after=after, longest=longest
    )


def joined(
    speech: list[tuple[int, int]], length: int, *, before: int, after: int, longest: int
) -> list[tuple[int, int]]:
    """Stretches of speech with padding, joined as long as they fit.

    Args:
        speech: (start, end) in samples, in order.
        length: Samples of the whole audio.
        before: Samples to keep before speech.
        after: Samples to keep after speech.
        longest: Maximum samples of a joined stretch.
    """
    padded: list[tuple[int, int]] = []
    for number, (start, end) in enumerate(speech):
        earlier = speech[number - 1][1] if number else 0
        later = speech[number + 1][0] if number + 1 < len(speech) else length
        # A pause too short for the padding of both sides is cut in the middle.
        first = max(start - before, 0 if not number else (earlier + start) // 2)
        last = min(end + after, length if number + 1 == len(speech) else (end + later) // 2)
        if padded and last - padded[-1][0] <= longest:
            padded[-1] = (padded[-1][0], last)
        else:
            padded.append((first, min(last, first + longest)))
    return padded
