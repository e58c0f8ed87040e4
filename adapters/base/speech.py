"""Speech recognition: audio to text."""

from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import ClassVar, Literal

from adapters.base.adapter import Adapter, Kind
from adapters.base.content import Media
from adapters.base.text import CandidateToken


@dataclass(frozen=True, slots=True)
class VoiceDetection:
    """Settings of the voice activity detector; None: the backend's defaults."""

    threshold: float | None = None
    """0..1: the lowest probability of speech."""
    min_silence_ms: int | None = None
    """Silence that ends a segment of speech."""
    padding_ms: int | None = None
    """Audio that is kept before speech."""


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """Audio to transcribe."""

    audio: Media
    language: str | None = None
    """ISO 639-1 code; None: detect it."""
    languages: tuple[str, ...] = ()
    """Candidates for detection; empty: all languages."""
    task: Literal["transcribe", "translate"] = "transcribe"
    """"translate": into English."""
    prompt: str = ""
    """Text that could precede the audio; it guides style and spelling."""
    hotwords: tuple[str, ...] = ()
    beam_size: int = 5
    word_timestamps: bool = True
    vad_filter: bool | None = None
    """Skip audio in which the detector finds no speech. None: transcribe all of it if it contains speech, and nothing
    if it does not. False: ask no detector."""
    chunked: bool = False
    """Split the audio at silence, and transcribe the chunks independently and in parallel."""
    voice: VoiceDetection = VoiceDetection()
    """For `vad_filter` and `chunked`."""
    logprobs: bool = False
    """Return the log-probabilities of tokens."""
    temperature: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """Tried in order until the text is good enough."""


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word; times in seconds from the start of the audio."""

    start: float
    end: float
    text: str
    """With its leading space, as the model generates it."""
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of speech; times in seconds from the start of the audio."""

    id: int
    """From 0."""
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] = ()
    logprobs: tuple[CandidateToken, ...] = ()
    """Of the text's tokens, if requested."""


@dataclass(frozen=True, slots=True)
class TranscriptionInfo:
    """The first event of `SpeechAdapter.transcribe`."""

    language: str
    language_probability: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class TranscriptionDone:
    """The last event of `SpeechAdapter.transcribe`."""

    generation_ms: float


@dataclass(frozen=True, slots=True)
class LanguageDetection:
    """The detected language."""

    language: str
    probability: float
    candidates: tuple[tuple[str, float], ...]
    """(ISO 639-1 code, probability), most likely first."""


SpeechEvent = TranscriptionInfo | Segment | TranscriptionDone


class SpeechAdapter(Adapter):
    """A speech recognition model."""

    kind: ClassVar[Kind] = "speech"

    @abstractmethod
    def transcribe(self, request: TranscriptionRequest) -> AsyncGenerator[SpeechEvent]:
        """Yields one `TranscriptionInfo`, segments as they are decoded, then one `TranscriptionDone`.

        A file on disk has been read completely when the first event comes.

        Raises:
            InvalidMedia: The audio cannot be read or is longer than allowed.
            UnsupportedOption: The model does not support an option, such as a language.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """

    @abstractmethod
    async def detect_language(self, audio: Media) -> LanguageDetection:
        """The language of the first 30 seconds. Raises as `transcribe`."""
