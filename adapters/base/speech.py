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
    """Settings of the voice detector; None: the backend's own."""

    threshold: float | None = None
    """0..1: from which probability on something is speech."""
    min_silence_ms: int | None = None
    """Of silence that ends a stretch of speech."""
    padding_ms: int | None = None
    """Of what is kept before speech."""


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """A sound to write down."""

    audio: Media
    language: str | None = None
    """ISO 639-1 code; None: detect it."""
    languages: tuple[str, ...] = ()
    """Codes of which one is to be detected; empty: any."""
    task: Literal["transcribe", "translate"] = "transcribe"
    """"translate" writes English."""
    prompt: str = ""
    """Text that could have come before; guides style and spelling."""
    hotwords: tuple[str, ...] = ()
    beam_size: int = 5
    word_timestamps: bool = True
    vad_filter: bool = False
    """Skip what a voice detector takes for silence."""
    chunked: bool = False
    """Cut the sound where nobody speaks, and write the chunks down side by side, each for itself."""
    voice: VoiceDetection = VoiceDetection()
    """For `vad_filter` and `chunked`."""
    logprobs: bool = False
    """Say how likely each token is."""
    temperature: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """Tried in order until the text is good enough."""


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word; times in seconds from the start of the sound."""

    start: float
    end: float
    text: str
    """With its leading space, as the model writes it."""
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech; times in seconds from the start of the sound."""

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
    """Of the text's tokens, where they were asked for."""


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
    """Which language is spoken."""

    language: str
    probability: float
    candidates: tuple[tuple[str, float], ...]
    """(ISO 639-1 code, probability), most likely first."""


SpeechEvent = TranscriptionInfo | Segment | TranscriptionDone


class SpeechAdapter(Adapter):
    """A model that writes down speech."""

    kind: ClassVar[Kind] = "speech"

    @abstractmethod
    def transcribe(self, request: TranscriptionRequest) -> AsyncGenerator[SpeechEvent]:
        """One `TranscriptionInfo`, segments as they are decoded, then one `TranscriptionDone`.

        A sound on disk has been read once the first event is there.

        Raises:
            InvalidMedia: The sound cannot be read or is longer than allowed.
            UnsupportedOption: An option cannot be honoured (a language that the model does not know).
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """

    @abstractmethod
    async def detect_language(self, audio: Media) -> LanguageDetection:
        """The language of the first half minute. Raises as `transcribe` does."""
