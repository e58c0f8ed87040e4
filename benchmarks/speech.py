"""Speech: what batching across requests brings (C6), and how exact words' times are (C7).

C6: clips through one loaded adapter, all at once, against faster-whisper called directly with the same options, one
clip after the other behind a lock. Rounds are interleaved; seconds of wall clock, medians over rounds, with the lowest
and highest; the word error rate of both sides against what was said.

C7: sentences that are said word by word, put together with pauses, so that every word's start and end are known.
A word counts as found where it is the same and starts within 200 ms; errors are of both ends of the words that are.

Who says them: espeak-ng, a rule-based voice that Whisper mishears now and then, or with `--voices kokoro` those of
`/v1/audio/speech`, in as many clips.

`python benchmarks/speech.py` (needs espeak-ng or `--voices kokoro`; `--part throughput` or `--part words` for one part)
"""

import argparse
import asyncio
import difflib
import io
import os
import random
import re
import statistics
import subprocess
import tempfile
import time
import wave
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from adapters.base import (
    AudioChunk,
    Media,
    ModelFiles,
    Segment,
    SynthesisRequest,
    TranscriptionRequest,
    Word,
)
from adapters.catalog.catalog import CATALOG, load_catalog
from adapters.loader.fetch import fetch
from adapters.speech.whisper import WhisperSpeech
from adapters.voice.kokoro import KokoroVoice

MODEL, VOICE_MODEL = "whisper-base", "kokoro-82m"
MODELS = Path(os.environ.get("MUYBRIDGE_CACHE_DIR", "~/.cache/muybridge")).expanduser() / "models"
RATE = 16_000
VOICES = {
    "espeak": ("en-us", "en-gb", "en-us+f3", "en-gb+m3"),
    "kokoro": ("af_heart", "af_bella", "am_michael", "am_puck", "bf_emma", "bm_george"),
}
SENTENCES = (
    "the morning train leaves the station at nine and arrives before noon",
    "please bring your own coffee because the kitchen is closed today",
    "a young woman walked along the river with her brother and a small dog",
    "nobody in the village had ever seen such a large black horse before",
    "the weather was cold and the children stayed inside the house all day",
    "he opened the window and looked at the garden behind the old church",
    "we will meet again next summer when the work on the bridge is finished",
    "the doctor asked him to sit down and wait for a few more minutes",
    "they sold the farm last year and moved to a small town near the sea",
    "my father always told us that money cannot buy happiness or friends",
    "the teacher wrote three long words on the board and left the room",
    "after dinner she read a story about a king who lost his golden ring",
    "it was late at night when the phone rang and woke the whole family",
    "the company plans to open two new stores in the city before winter",
    "every picture on this wall was taken by the same man in one week",
    "you should turn left after the market and then follow the main street",
)
WITHIN_S = 0.2


@dataclass(frozen=True)
class Clip:
    """An audio file, and what is said in it when."""

    wav: bytes
    words: tuple[tuple[str, float, float], ...]


class Speaker:
    """Says words; what was said before is remembered."""

    def __init__(self, voices: str, kokoro: KokoroVoice | None) -> None:
        """Takes a key of `VOICES`, and the model for those that need one."""
        self.voices = VOICES[voices]
        self._kokoro = kokoro
        self._said: dict[tuple[str, str, int], np.ndarray] = {}

    async def say(self, text: str, voice: str, pace: int) -> np.ndarray:
        """float32 [samples], 16 kHz: the text without the silence around; `pace` in espeak-ng's words a minute."""
        key = (text, voice, pace)
        if key not in self._said:
            spoken = espoken(*key) if self._kokoro is None else await self._spoken(text, voice, pace)
            with wave.open(io.BytesIO(spoken)) as file:
                rate, data = file.getframerate(), file.readframes(file.getnframes())
            audio = np.frombuffer(data, np.int16).astype(np.float32) / 32768
            times = np.arange(0, len(audio), rate / RATE)
            audio = np.interp(times, np.arange(len(audio)), audio).astype(np.float32)
            loud = np.flatnonzero(np.abs(audio) > 0.01 * np.abs(audio).max())
            self._said[key] = audio[loud[0] : loud[-1] + 1]
        return self._said[key]

    async def _spoken(self, text: str, voice: str, pace: int) -> bytes:
        assert self._kokoro is not None
        request = SynthesisRequest(text=text, voice=voice, media_type="audio/wav", speed=pace / 150)
        return b"".join([event.data async for event in self._kokoro.speak(request) if isinstance(event, AudioChunk)])


def espoken(text: str, voice: str, pace: int) -> bytes:
    """espeak-ng's WAV file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "say.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(pace), "-w", str(path), text], check=True)
        return path.read_bytes()


def encoded(audio: np.ndarray) -> bytes:
    """The audio as a WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


async def word_by_word(speaker: Speaker, sentences: list[str], draw: random.Random) -> Clip:
    """Each word said alone, with pauses of 40 to 250 ms between them and longer ones between sentences."""
    voice, at = draw.choice(speaker.voices), 0
    pieces, words = [], []

    def rest(seconds: float) -> None:
        nonlocal at
        pieces.append((draw.random() * 1e-4) * np.random.default_rng(at).standard_normal(int(seconds * RATE)))
        at += len(pieces[-1])

    rest(draw.uniform(0.1, 1.5))
    for sentence in sentences:
        for word in sentence.split():
            audio = await speaker.say(word, voice, 140)
            words.append((word, at / RATE, (at + len(audio)) / RATE))
            pieces.append(audio)
            at += len(audio)
            rest(draw.uniform(0.04, 0.25))
        rest(draw.uniform(0.3, 1.5))
    return Clip(encoded(np.concatenate(pieces)), tuple(words))


def plain(text: str) -> list[str]:
    """Words without marks and capitals."""
    return re.sub(r"[^a-z0-9' ]", " ", text.lower()).split()


def errors(said: list[str], heard: list[str]) -> int:
    """The least number of words to change, leave out or put in (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, one in enumerate(said, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (one != other))
    return row[-1]


async def heard(adapter: WhisperSpeech, request: TranscriptionRequest) -> list[Segment]:
    """All segments."""
    return [event async for event in adapter.transcribe(request) if isinstance(event, Segment)]


async def throughput(adapter: WhisperSpeech, speaker: Speaker, clips: int, rounds: int, beam: int) -> None:
    """C6."""
    from faster_whisper import WhisperModel

    whisper = adapter._whisper
    direct: Any = WhisperModel.__new__(WhisperModel)
    direct.__dict__ |= whisper.__dict__
    draw = random.Random(6)
    texts = [SENTENCES[number % len(SENTENCES)] for number in range(clips)]
    clips = [await speaker.say(text, draw.choice(speaker.voices), 150) for text in texts]
    options = {"language": "en", "beam_size": beam}

    def alone() -> list[str]:
        return ["".join(one.text for one in direct.transcribe(audio, **options)[0]) for audio in clips]

    async def together() -> list[str]:
        requests = [
            TranscriptionRequest(
                Media("audio/wav", encoded(audio)), language="en", beam_size=beam, word_timestamps=False
            )
            for audio in clips
        ]
        found = await asyncio.gather(*(heard(adapter, request) for request in requests))
        return ["".join(segment.text for segment in segments) for segments in found]

    took: dict[str, list[float]] = {"one at a time": [], "all at once": []}
    wrong: dict[str, int] = {}
    for _ in range(rounds):
        for name in took:
            begun = time.perf_counter()
            written = await together() if name == "all at once" else await asyncio.to_thread(alone)
            took[name].append(time.perf_counter() - begun)
            wrong[name] = sum(errors(plain(said), plain(text)) for said, text in zip(texts, written, strict=True))
            print(f"{name}: {took[name][-1]:.2f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    table = Table("side", "seconds", "word error rate", title=f"{clips} clips, beam {beam}")
    for name, seconds in took.items():
        rate = wrong[name] / sum(len(text.split()) for text in texts)
        spread = f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
        table.add_row(name, spread, f"{rate:.1%}")
    Console(width=100).print(table)
    ratios = [one / all_ for one, all_ in zip(*took.values(), strict=True)]
    print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}); goal 1.8 (C6)")
    print(f"batches by size: {dict(sorted(adapter._batcher.batches.items()))}")


def matched(clip: Clip, words: list[Word]) -> tuple[list[float], int, int]:
    """Errors of both ends in seconds of the words that were found, how many were found, and how many were written."""
    written = [(text, word) for word in words for text in plain(word.text)]
    blocks = difflib.SequenceMatcher(
        a=[word for word, _, _ in clip.words], b=[text for text, _ in written], autojunk=False
    ).get_matching_blocks()
    off, found = [], 0
    for a, b, size in blocks:
        for (_, start, end), (_, word) in zip(clip.words[a : a + size], written[b : b + size], strict=True):
            off += [abs(word.start - start), abs(word.end - end)]
            found += abs(word.start - start) <= WITHIN_S
    return off, found, len(written)


async def word_times(adapter: WhisperSpeech, speaker: Speaker, clips: int, seed: int) -> None:
    """C7."""
    import adapters.speech.whisper as module

    draw = random.Random(seed)
    made = [await word_by_word(speaker, draw.sample(SENTENCES, 2), draw) for _ in range(clips)]
    refine = module.refined
    table = Table("words' times", "median error", "90th percentile", "F1 at 200 ms", "words written/said")
    for detector in ("off", "on", "chunks"):
        for name, how in (("Whisper's own", lambda words, _, after=0.0: tuple(words)), ("refined", refine)):
            module.refined = how
            off, found, written = [], 0, 0
            requests = [
                TranscriptionRequest(
                    Media("audio/wav", clip.wav),
                    language="en",
                    vad_filter=detector == "on",
                    chunked=detector == "chunks",
                    temperature=(0.0,),
                )
                for clip in made
            ]
            for clip, segments in zip(
                made, await asyncio.gather(*(heard(adapter, one) for one in requests)), strict=True
            ):
                errors_s, good, count = matched(clip, [word for segment in segments for word in segment.words])
                off, found, written = off + errors_s, found + good, written + count
            said = sum(len(clip.words) for clip in made)
            table.add_row(
                f"{name}, VAD {detector}",
                f"{statistics.median(off) * 1000:.0f} ms",
                f"{np.quantile(off, 0.9) * 1000:.0f} ms",
                f"{2 * found / (said + written):.3f}",
                f"{written}/{said}",
            )
    module.refined = refine
    Console(width=100).print(table)
    print("goals (C7): median error 50 ms, F1 0.95")


async def files_of(name: str) -> ModelFiles:
    """A model of the catalog, fetched where it is not there yet."""
    entry = load_catalog().models[name]
    path = await fetch(name, entry.sources, MODELS, lambda _: None, backend=entry.backend, base_dir=CATALOG.parent)
    return ModelFiles(name, entry.backend, str(path), {})


async def main() -> None:
    """Loads the model and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("throughput", "words"))
    parser.add_argument("--voices", choices=tuple(VOICES), default="espeak")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--seed", type=int, default=123, help="of C7's clips; boundaries.py was made on those of 5")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--compute-type", default="auto")
    parser.add_argument("--short-window-s", type=float, help="the option; of our side only")
    arguments = parser.parse_args()
    files = await files_of(MODEL)
    options = {"device": "cpu", "cpu_threads": arguments.threads, "compute_type": arguments.compute_type}
    options["short_window_s"] = arguments.short_window_s
    adapter = await WhisperSpeech.load(replace(files, options=options), lambda _: None)
    kokoro = None
    if arguments.voices == "kokoro":
        kokoro = await KokoroVoice.load(await files_of(VOICE_MODEL), lambda _: None)
    speaker = Speaker(arguments.voices, kokoro)
    try:
        if arguments.part != "words":
            await throughput(adapter, speaker, arguments.clips, arguments.rounds, arguments.beam)
        if arguments.part != "throughput":
            await word_times(adapter, speaker, arguments.clips, arguments.seed)
    finally:
        await adapter.unload()
        if kokoro is not None:
            await kokoro.unload()


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the server's child processes have it
    asyncio.run(main())
