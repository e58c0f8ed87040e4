"""Synthetic speech whose words' times are known: espeak-ng's word events, and Kokoro's durations of phonemes.

espeak-ng reports the sample at which each word starts. Kokoro predicts how many frames of 25 ms each phoneme takes,
and generates just those.
"""

import asyncio
import ctypes
import ctypes.util
import io
import random
import re
import wave
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from adapters.media.encode_audio import SAMPLE_RATE as KOKORO_RATE
from adapters.voice import text_normalization
from adapters.voice.kokoro import FRAME_SAMPLES, KokoroVoice

RATE = 16_000
"""Hz, of all clips."""
ESPEAK_VOICES = ("en-us", "gmw/en", "en-us+f3", "gmw/en+m3", "gmw/en-GB-scotland")
ESPEAK_SPEEDS = (140, 175, 210)
"""Words a minute."""
KOKORO_VOICES = ("af_heart", "af_bella", "am_michael", "bf_emma", "bm_george")
KOKORO_SPEEDS = (0.85, 1.0, 1.2)
TEXTS = {
    "narration": (
        "The horse lifted all four feet off the ground. Nobody had seen that before.",
        "A camera in the summer of that year proved it to everyone who was still in doubt.",
        "She closed the heavy door behind her, took a deep breath, and walked slowly down the stairs.",
        "The weather was cold, and the children stayed inside the house for most of the day.",
        "When the last train had left the station, the old man put out the lamps and went home.",
        "They sold the farm last year and moved to a small town near the sea, where the air is better.",
        "It was late at night when the telephone rang and woke the whole family.",
        "Most of the work was done by hand, because the machines had not arrived from the factory yet.",
    ),
    "digits": (
        "In nineteen eighty five the company sold three thousand four hundred bicycles. The price was one hundred and "
        "twenty dollars each.",
        "Between nineteen fourteen and nineteen eighteen about sixty five thousand people left the city.",
        "The train on platform seven leaves at nine thirty and arrives at eleven forty five.",
        "We counted two hundred and fifty birds on the first day and only eighteen on the second.",
        "He was born in eighteen seventy eight and had twelve children and forty one grandchildren.",
        "Twenty five percent of the money was spent in the first six months of two thousand twelve.",
    ),
    "names": (
        "Alice and Robert met Michael Johnson in London on a Monday morning in March.",
        "Eadweard Muybridge took pictures for Leland Stanford in Palo Alto, California.",
        "My sister Emma lives in Berlin now, but she studied in Paris and in Rome with David.",
        "President Lincoln wrote to General Grant about the army of Virginia.",
        "Doctor Watson and Sherlock Holmes travelled from Oxford to Edinburgh with Mary.",
        "Peter, Paul and Susan Miller flew from Boston to San Francisco last Friday.",
    ),
    "questions": (
        "Where did you put the keys to the car? I have been looking for them all morning.",
        "Could you tell me how to get to the museum from here? Is it far, or can we walk?",
        "What would you like to drink? We have coffee, tea and cold water.",
        "Why did nobody tell me about the meeting? Was it not planned for next week?",
        "Do you think that it will rain tomorrow, or should we bring the chairs outside?",
        "Who was the first person to cross the river, and how long did it take him?",
    ),
}
"""Numbers are spelled out, since espeak-ng's events do not tell their words apart; Whisper writes digits anyway. The
constants of `adapters/speech/word_alignment.py` were chosen on these texts."""
HELD_OUT = {
    "narration": (
        "Before the invention of the telephone, people wrote long letters to their friends and relatives abroad.",
        "The river had frozen overnight, and nobody dared to cross it with a heavy wagon.",
        "He opened the window, looked at the garden behind the old church, and smiled for the first time that week.",
        "Every picture on this wall was taken by the same man within a single month.",
    ),
    "digits": (
        "The museum opened in nineteen twenty six and has forty thousand visitors a year.",
        "She paid three hundred and fifteen dollars for two tickets to the concert.",
        "On the eleventh of May, eighteen ninety two, seventeen ships left the harbour with nine hundred men.",
    ),
    "names": (
        "Charles Darwin sailed to South America with Captain Robert Fitzroy.",
        "Maria and Thomas moved from Chicago to Madrid when Hannah was born.",
        "Queen Victoria married Prince Albert in London in the month of February.",
    ),
    "questions": (
        "When does the next bus to the airport leave, and how much is a ticket?",
        "Have you ever seen the northern lights? Were they as bright as people say?",
        "Which of these two photographs do you like better, and why?",
    ),
}
"""Other texts, on which nothing was chosen."""
PAUSED = "pauses"
"""The set whose clips have silence between some words."""


@dataclass(frozen=True)
class Clip:
    """Speech, and when each of its words starts."""

    group: str
    """What the clip belongs to in results: the synthesiser and the kind of text."""
    audio: np.ndarray
    """float32 [samples], mono, 16 kHz, -1..1."""
    words: tuple[tuple[str, float], ...]
    """Each word, lower case, with its start in seconds."""

    @property
    def seconds(self) -> float:
        """The length of the audio."""
        return len(self.audio) / RATE

    @property
    def wav(self) -> bytes:
        """The audio as a WAV file."""
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((np.clip(self.audio, -1, 1) * 32767).astype("<i2").tobytes())
        return out.getvalue()


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h; the last field is a union of 8 bytes."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_WORD, _RETRIEVE, _BY_CHARACTER, _UTF_8, _RATE = 1, 1, 1, 1, 1


def has_espeak() -> bool:
    """Whether the library of espeak-ng is installed."""
    return ctypes.util.find_library("espeak-ng") is not None


@cache
def _espeak() -> tuple[Any, int]:
    """The library, and its sample rate."""
    library = ctypes.CDLL(ctypes.util.find_library("espeak-ng"))
    return library, library.espeak_Initialize(_RETRIEVE, 0, None, 0)


def espeak(group: str, text: str, voice: str, words_per_minute: int) -> Clip:
    """A text, spoken by espeak-ng."""
    library, rate = _espeak()
    pcm, found = bytearray(), list[tuple[int, int]]()

    def receive(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            pcm.extend(ctypes.string_at(samples, 2 * count))
        at = 0
        while events[at].type:
            if events[at].type == _WORD:
                found.append((events[at].text_position - 1, events[at].sample))
            at += 1
        return 0

    callback, encoded = _Callback(receive), text.encode()
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()):
        raise ValueError(f"espeak-ng has no voice {voice}")
    library.espeak_SetParameter(_RATE, words_per_minute, 0)
    library.espeak_Synth(encoded, len(encoded) + 1, 0, _BY_CHARACTER, 0, _UTF_8, None, None)
    library.espeak_Synchronize()
    starts: dict[int, float] = {}
    for position, sample in found:  # a word of several parts has several events; the first is its start
        starts.setdefault(position, sample / rate)
    words = [(match.group().lower(), starts[match.start()]) for match in _spoken(text) if match.start() in starts]
    audio = np.frombuffer(bytes(pcm), np.int16).astype(np.float32) / 32768
    return Clip(group, _resampled(audio, rate), tuple(words))


async def kokoro(group: str, text: str, voice: KokoroVoice, name: str, speed: float) -> Clip:
    """A text, spoken by Kokoro, sentence by sentence."""
    return await asyncio.to_thread(_kokoro, group, text, voice, name, speed)


def _kokoro(group: str, text: str, voice: KokoroVoice, name: str, speed: float) -> Clip:
    session = _with_durations(voice._directory / "model.onnx")
    pieces, words, at = list[np.ndarray](), list[tuple[str, float]](), 0
    for sentence in text_normalization.read(text).sentences:
        phonemes = voice._lexicons["us"].phonemes(sentence)
        kept = [one for one in phonemes if one in voice._token_ids]
        style = voice._styles[name]
        audio, frames = session.run(
            None,
            {
                "tokens": np.array([[0, *(voice._token_ids[one] for one in kept), 0]], np.int64),
                "style": style[min(len(kept), len(style)) - 1][None].astype(np.float32),
                "speed": np.array([speed], np.float32),
            },
        )
        starts = [0, *accumulate(int(count) for count in frames.reshape(-1))]
        assert starts[-1] * FRAME_SAMPLES == audio.size, "the durations are not those of the audio"
        firsts = [number for number, one in enumerate(kept) if one.isalpha() or one in "ˈˌ"]
        firsts = [number for number in firsts if number == 0 or kept[number - 1] == " "]
        written = [match.group().lower() for match in _spoken(sentence.replace("-", " "))]
        if len(firsts) != len(written):
            raise ValueError(f"{len(written)} words, but {len(firsts)} groups of phonemes: {sentence!r}, {phonemes!r}")
        for word, number in zip(written, firsts, strict=True):
            words.append((word, (at + starts[number + 1] * FRAME_SAMPLES) / KOKORO_RATE))
        pieces.append(audio.reshape(-1))
        at += audio.size
    return Clip(group, _resampled(np.concatenate(pieces), KOKORO_RATE), tuple(words))


@cache
def _with_durations(path: Path) -> Any:
    """Kokoro's network with a second output: the frames of each token.

    Messages of protobuf that follow each other are merged, so an output is added to the graph by appending it.
    """
    from onnxruntime import InferenceSession

    # INTERNAL kokoro==82M v1.0: the name of the inner result, in ONNX's ModelProto.graph.output.
    name = b"/encoder/Clip_output_0"
    value = b"\x0a" + bytes([len(name)]) + name + b"\x12\x04\x0a\x02\x08\x01"  # a tensor of float
    graph = b"\x62" + bytes([len(value)]) + value
    return InferenceSession(
        path.read_bytes() + b"\x3a" + bytes([len(graph)]) + graph, providers=["CPUExecutionProvider"]
    )


def paused(clip: Clip, draw: random.Random) -> Clip:
    """The clip with silence of 0.2 to 1.5 s before every third or so of its words, and before the first."""
    pieces, words, taken, added = list[np.ndarray](), list[tuple[str, float]](), 0, 0
    for number, (word, start) in enumerate(clip.words):
        if number == 0 or draw.random() < 0.3:
            silence = np.zeros(round(draw.uniform(0.2, 1.5) * RATE), np.float32)
            at = _quietest(clip.audio, round(start * RATE))
            pieces += [clip.audio[taken:at], silence]
            taken, added = at, added + len(silence)
        words.append((word, start + added / RATE))
    noise = np.random.default_rng(len(clip.audio)).standard_normal(len(clip.audio) + added).astype(np.float32)
    audio = np.concatenate([*pieces, clip.audio[taken:]]) + 1e-4 * noise
    return Clip(f"{clip.group.split(' ')[0]} {PAUSED}", audio, tuple(words))


def _quietest(audio: np.ndarray, at: int) -> int:
    """The quietest sample of the 0.1 s before one: Kokoro's words are heard up to 50 ms before their first phoneme."""
    step, first = RATE // 200, max(0, at - RATE // 10)
    loud = [float(np.square(audio[sample : sample + step]).sum()) for sample in range(first, at + 1, step)]
    return first + loud.index(min(loud)) * step


def _spoken(text: str) -> list[re.Match[str]]:
    return list(re.finditer(r"[A-Za-z']+", text))


def _resampled(audio: np.ndarray, rate: int) -> np.ndarray:
    times = np.arange(0, len(audio), rate / RATE)
    return np.interp(times, np.arange(len(audio)), audio).astype(np.float32)
