"""Speech synthesis: text to audio."""

from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from adapters.base.adapter import Adapter, Kind
from adapters.base.content import Usage


@dataclass(frozen=True, slots=True)
class SynthesisRequest:
    """A text to say."""

    text: str
    voice: str | None = None
    """One of the adapter's voices; None: its first."""
    speed: float = 1.0
    """0.25..4: how much faster than the voice's own pace."""
    media_type: Literal["audio/wav", "audio/mpeg", "audio/ogg", "audio/aac", "audio/flac", "audio/pcm"] = "audio/wav"
    """"audio/ogg" holds Opus; "audio/pcm" is int16 little-endian, mono, 24 kHz, without a header."""


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """The next bytes of the sound; all pieces together are one file of the media type that was asked for."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SynthesisDone:
    """The last event of `VoiceAdapter.speak`."""

    duration_s: float
    """Of the sound."""
    generation_ms: float
    usage: Usage = field(default_factory=Usage)
    """Units of writing that the model read, and units of sound that it made; how large one is, the model says."""


VoiceEvent = AudioChunk | SynthesisDone


class VoiceAdapter(Adapter):
    """A model that speaks."""

    kind: ClassVar[Kind] = "voice"

    @abstractmethod
    def speak(self, request: SynthesisRequest) -> AsyncGenerator[VoiceEvent]:
        """The sound, piece by piece as it is spoken, then one `SynthesisDone`. Closing the generator stops the work.

        Raises:
            UnsupportedOption: A voice that the model does not have.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """
