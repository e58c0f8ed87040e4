"""Replies of the transcription routes: OpenAI's schemas, and functions that build them."""

from collections.abc import Sequence
from typing import Literal

from adapters.base import CandidateToken, Segment
from compat.logprobs import IMPOSSIBLE
from compat.wire import Timings, WireReply


class UsageDuration(WireReply):
    """The duration of the audio."""

    type: Literal["duration"]
    seconds: float


class TranscriptionLanguage(WireReply):
    """A detected language."""

    code: str
    """ISO 639-1."""


class Logprob(WireReply):
    """A token of the text, and the natural logarithm of its probability."""

    token: str
    bytes: list[int]
    logprob: float


class Transcription(WireReply, omit_defaults=True, kw_only=True):
    """The reply in `json`. `languages` and `logprobs` are present if requested."""

    text: str
    languages: list[TranscriptionLanguage] | None = None
    logprobs: list[Logprob] | None = None
    usage: UsageDuration
    timings: Timings


class TranscriptionWord(WireReply):
    """A word of a `TranscriptionVerbose`; times in seconds."""

    word: str
    start: float
    end: float
    probability: float
    """An extension."""


class TranscriptionSegment(WireReply):
    """A segment of a `TranscriptionVerbose`; times in seconds."""

    id: int
    seek: int
    """Its start in frames of 10 ms."""
    start: float
    end: float
    text: str
    tokens: Sequence[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class TranscriptionVerbose(WireReply, omit_defaults=True, kw_only=True):
    """The reply in `verbose_json`. `words` and `segments` are present if requested."""

    task: str
    language: str
    """The English name of the spoken language, in small letters, as in OpenAI's API; "english" for a translation."""
    source_language: str | None = None
    """An extension: for a translation, the code of the spoken language."""
    language_probability: float
    """An extension."""
    duration: float
    text: str
    words: list[TranscriptionWord] | None = None
    segments: list[TranscriptionSegment] | None = None
    usage: UsageDuration
    timings: Timings


class TranscriptionTextDeltaEvent(WireReply, omit_defaults=True, kw_only=True):
    """The text of one segment."""

    type: Literal["transcript.text.delta"]
    delta: str
    logprobs: list[Logprob] | None = None


class TranscriptionTextDoneEvent(WireReply, omit_defaults=True, kw_only=True):
    """The end of the stream, with the whole text."""

    type: Literal["transcript.text.done"]
    text: str
    languages: list[TranscriptionLanguage] | None = None
    logprobs: list[Logprob] | None = None
    timings: Timings


def logprobs_of(tokens: Sequence[CandidateToken]) -> list[Logprob]:
    """Tokens in OpenAI's schema."""
    return [
        Logprob(one.token, list(one.data), IMPOSSIBLE if one.logprob is None else round(one.logprob, 6))
        for one in tokens
    ]


def words_of(segments: Sequence[Segment]) -> list[TranscriptionWord]:
    """All words of all segments."""
    return [
        TranscriptionWord(word.text.strip(), round(word.start, 3), round(word.end, 3), round(word.probability, 4))
        for segment in segments
        for word in segment.words
    ]


def segment_of(segment: Segment) -> TranscriptionSegment:
    """A segment in OpenAI's schema."""
    return TranscriptionSegment(
        id=segment.id,
        seek=round(segment.start * 100),
        start=round(segment.start, 3),
        end=round(segment.end, 3),
        text=segment.text,
        tokens=segment.tokens,
        temperature=segment.temperature,
        avg_logprob=segment.avg_logprob,
        compression_ratio=segment.compression_ratio,
        no_speech_prob=segment.no_speech_prob,
    )
