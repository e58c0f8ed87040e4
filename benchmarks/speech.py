"""Speech: what batching across requests brings (C6). Word times (C7): `word_times.py`.

Clips through one loaded adapter, all at once, against faster-whisper called directly with the same options, one clip
after the other behind a lock. Rounds are interleaved; seconds of wall clock, medians over rounds, with the lowest and
highest; the word error rate of both sides against what was said.

Who says them: espeak-ng, a rule-based voice that Whisper mishears now and then, or with `--voices kokoro` those of
`/v1/audio/speech`.

`python benchmarks/speech.py` (needs espeak-ng or `--voices kokoro`)
"""

import argparse
import asyncio
import io
import os
import random
import re
import statistics
import subprocess
import tempfile
import time
import wave
from dataclasses import replace
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


async def files_of(name: str) -> ModelFiles:
    """A model of the catalog, fetched where it is not there yet."""
    entry = load_catalog().models[name]
    path = await fetch(name, entry.sources, MODELS, lambda _: None, backend=entry.backend, base_dir=CATALOG.parent)
    return ModelFiles(name, entry.backend, str(path), {})


async def main() -> None:
    """Loads the model and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voices", choices=tuple(VOICES), default="espeak")
    parser.add_argument("--clips", type=int, default=16)
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
        await throughput(adapter, speaker, arguments.clips, arguments.rounds, arguments.beam)
    finally:
        await adapter.unload()
        if kokoro is not None:
            await kokoro.unload()


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the server's child processes have it
    asyncio.run(main())
