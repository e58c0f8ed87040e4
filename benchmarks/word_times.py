"""Times of words in fluent speech (C7): the server's, against faster-whisper's own on the same weights.

Only words that were recognised count, and of numbers in digits the first spoken word. A start is off by the distance
to the true one, from espeak-ng's word events or Kokoro's durations of phonemes; see `timed_speech`.

`python benchmarks/word_times.py` (needs espeak-ng's library; `--voices espeak` or `kokoro` for one of them,
`--texts tuned` for those on which the constants were chosen, `--rounds` for more voices and speeds of each text)
"""

import argparse
import asyncio
import difflib
import os
import random
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from speech import MODEL, VOICE_MODEL, files_of, heard
from timed_speech import (
    ESPEAK_SPEEDS,
    ESPEAK_VOICES,
    HELD_OUT,
    KOKORO_SPEEDS,
    KOKORO_VOICES,
    TEXTS,
    Clip,
    espeak,
    kokoro,
    paused,
)

from adapters.base import Media, TranscriptionRequest, Word
from adapters.speech.whisper import WhisperSpeech
from adapters.voice import number_words
from adapters.voice.kokoro import KokoroVoice

FAR_S = 0.2


async def clips(voices: str, texts: dict[str, tuple[str, ...]], rounds: int) -> AsyncIterator[Clip]:
    """Every text in `rounds` voices and speeds; the first round once more with pauses."""
    voice = await KokoroVoice.load(await files_of(VOICE_MODEL), lambda _: None) if voices == "kokoro" else None
    names, speeds = (ESPEAK_VOICES, ESPEAK_SPEEDS) if voice is None else (KOKORO_VOICES, KOKORO_SPEEDS)
    draw = random.Random(11)
    for number in range(rounds):
        for kind, sentences in texts.items():
            for index, text in enumerate(sentences):
                name, speed = names[(index + number) % len(names)], speeds[(index + number) % len(speeds)]
                group = f"{voices} {kind}"
                if voice is None:
                    clip = espeak(group, text, name, int(speed))
                else:
                    clip = await kokoro(group, text, voice, name, speed)
                yield clip
                if number == 0:
                    yield paused(clip, draw)
    if voice is not None:
        await voice.unload()


def spoken(text: str) -> list[str]:
    """The words that are said for a word that Whisper wrote."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.lower())

    def words(match: re.Match[str]) -> str:
        number = int(match[0])
        return f" {number_words.year(number) if 1100 <= number < 2100 else number_words.cardinal(number)} "

    return re.findall(r"[a-z']+", re.sub(r"\d{1,15}", words, text).replace("-", " "))


def start_errors(clip: Clip, words: Iterable[Word]) -> list[float]:
    """Seconds by which the starts of recognised words are too late."""
    written = [(part, word if first else None) for word in words for first, part in _marked(spoken(word.text))]
    blocks = difflib.SequenceMatcher(
        a=[word for word, _ in clip.words], b=[part for part, _ in written], autojunk=False
    ).get_matching_blocks()
    pairs = [(clip.words[a + at][1], written[b + at][1]) for a, b, size in blocks for at in range(size)]
    return [word.start - start for start, word in pairs if word is not None]


def _marked(parts: list[str]) -> list[tuple[bool, str]]:
    return [(number == 0, part) for number, part in enumerate(parts)]


def faults(clip: Clip, words: list[Word]) -> int:
    """Words that are empty, overlap the next one, or end after the audio."""
    empty = sum(word.end <= word.start for word in words)
    return (
        empty
        + sum(one.end > other.start for one, other in pairwise(words))
        + sum(word.end > clip.seconds + 0.0005 for word in words)
    )


async def measure(adapter: WhisperSpeech, voices: str, texts: dict[str, tuple[str, ...]], rounds: int) -> None:
    """Prints a row for each set of clips and each side."""
    from faster_whisper import WhisperModel

    own: Any = WhisperModel.__new__(WhisperModel)
    own.__dict__ |= adapter._whisper.__dict__

    def direct(clip: Clip) -> list[Word]:
        segments, _ = own.transcribe(clip.audio, language="en", beam_size=5, word_timestamps=True)
        return [Word(w.start, w.end, w.word, w.probability) for segment in segments for w in segment.words]

    off: dict[str, dict[str, list[float]]] = {}
    bad: dict[tuple[str, str], int] = {}
    async for clip in clips(voices, texts, rounds):
        request = TranscriptionRequest(Media("audio/wav", clip.wav), language="en")
        served = [word for segment in await heard(adapter, request) for word in segment.words]
        for side, words in (("faster-whisper", await asyncio.to_thread(direct, clip)), ("server", served)):
            off.setdefault(clip.group, {}).setdefault(side, []).extend(start_errors(clip, words))
            bad[clip.group, side] = bad.get((clip.group, side), 0) + faults(clip, words)
        print(clip.group, flush=True)
    table = Table("clips", "times of", "words", f"off by > {FAR_S * 1000:.0f} ms", "median", "worst", "faulty")
    for group, sides in sorted(off.items()):
        for side, signed in sides.items():
            errors = np.abs(signed)
            table.add_row(
                group,
                side,
                str(len(errors)),
                f"{np.mean(errors > FAR_S):.1%}",
                f"{np.median(errors) * 1000:.0f} ms",
                f"{errors.max():.2f} s",
                str(bad[group, side]),
            )
    Console(width=100).print(table)
    print("goals (C7): never worse than faster-whisper; 3 % off by > 200 ms; median 40 ms; none faulty")


async def main() -> None:
    """Loads the model and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voices", choices=("espeak", "kokoro"))
    parser.add_argument("--texts", choices=("held-out", "tuned"), default="held-out")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    files = replace(await files_of(MODEL), options={"device": "cpu", "cpu_threads": arguments.threads})
    adapter = await WhisperSpeech.load(files, lambda _: None)
    try:
        for voices in [arguments.voices] if arguments.voices else ["espeak", "kokoro"]:
            await measure(adapter, voices, TEXTS if arguments.texts == "tuned" else HELD_OUT, arguments.rounds)
    finally:
        await adapter.unload()


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the server's child processes have it
    asyncio.run(main())
