"""Speech synthesis: text to audio."""

from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from adapters.base.adapter import Adapter, Kind
from adapters.base.content import Usage


@dataclass(frozen=True, slots=True)
class SynthesisRequest:
    """Text to synthesise."""

    text: str
    voice: str | None = None
    """One of the model's voices; None: its default."""
    speed: float = 1.0
    """0.25..4: factor on the voice's normal speed."""
    media_type: Literal["audio/wav", "audio/mpeg", "audio/ogg", "audio/aac", "audio/flac", "audio/pcm"] = "audio/wav"
    """"audio/ogg" is Opus; "audio/pcm" is int16 little-endian, mono, 24 kHz, without a header."""


@dataclass(frozen=True, slots=True)
class SynthesisStarted:
    """The first event of `VoiceAdapter.speak`, if the voice leaves out some of the text."""

    skipped: str
    """The letters that it cannot read, each once."""


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """The next bytes of the audio; all chunks together are one file of the requested media type."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SynthesisDone:
    """The last event of `VoiceAdapter.speak`."""

    duration_s: float
    """Of the audio."""
    generation_ms: float
    usage: Usage = field(default_factory=Usage)
    """Units of text that the model read and units of audio that it generated; their size depends on the model."""


VoiceEvent = SynthesisStarted | AudioChunk | SynthesisDone


class VoiceAdapter(Adapter):
    """A speech synthesis model."""

    kind: ClassVar[Kind] = "voice"

    @abstractmethod
    def speak(self, request: SynthesisRequest) -> AsyncGenerator[VoiceEvent]:
        """Chunks of the audio as they are generated, then one `SynthesisDone`. Closing the generator stops the work.

        A `SynthesisStarted` comes first if letters of the text are left out.

        Raises:
            UnsupportedOption: The model does not have the voice.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """
