"""/v1/audio/transcriptions: OpenAI's schemas, parse and render."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field

from adapters.base import Media, Segment, SpeechEvent, TranscriptionDone, TranscriptionInfo, TranscriptionRequest
from compat import subtitles
from compat.errors import RequestError
from compat.wire import FormRequest, Timings, WireReply, validate

ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
Granularity = Literal["word", "segment"]

MAX_BEAMS = 20
MAX_WORDS_PER_LINE = 100
TIMED_FORMATS = ("srt", "vtt")

NOT_YET = {
    "include": "Log probabilities of tokens are not available here.",
    "known_speaker_names": "Speakers are not told apart here.",
    "known_speaker_references": "Speakers are not told apart here.",
}
"""OpenAI's fields that this server knows, but cannot honour."""

Temperature = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Keyword = Annotated[str, Field(min_length=1, max_length=200)]
Language = Annotated[str, Field(min_length=1, max_length=32)]


class TranscriptionCreateRequest(FormRequest):
    """The form of POST /v1/audio/transcriptions, as far as this server honours it; `file` comes beside it."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    language: Language | None = None
    languages: Annotated[tuple[Language, ...], Field(max_length=1)] = ()
    """OpenAI takes several to choose from; Whisper is told one, or finds out itself."""
    prompt: Annotated[str, Field(max_length=32_000)] = ""
    keywords: Annotated[tuple[Keyword, ...], Field(max_length=256)] = ()
    response_format: ResponseFormat = "json"
    temperature: Annotated[tuple[Temperature, ...], Field(min_length=1, max_length=16)] | Temperature = 0.0
    """A list is ours: tried in order. OpenAI's 0 means that it rises by itself until the text is good enough."""
    timestamp_granularities: tuple[Granularity, ...] = ()
    chunking_strategy: Literal["auto"] | None = None
    stream: bool = False

    beam_size: Annotated[int, Field(ge=1, le=MAX_BEAMS)] = 5
    """Ours."""
    vad_filter: bool | None = None
    """Ours: skip what a voice detector takes for silence."""
    max_words_per_line: Annotated[int, Field(ge=1, le=MAX_WORDS_PER_LINE)] | None = None
    """Ours: of subtitles."""


LISTS = ("languages", "keywords", "timestamp_granularities", "temperature")
"""Fields that may come several times, as `name[]`; a list of one comes as `name[]` or as `name`."""


@dataclass(frozen=True, slots=True)
class TranscriptionCall:
    """A parsed request."""

    model: str
    request: TranscriptionRequest
    response_format: ResponseFormat
    granularities: tuple[Granularity, ...]
    """What `verbose_json` details."""
    max_words_per_line: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """A reply's body and what it is."""

    body: bytes
    media_type: str


def parse(fields: Mapping[str, Sequence[str]], file: Media) -> TranscriptionCall:
    """What a client wants written down, and how it wants to read it.

    Args:
        fields: The form's text fields; what came once is a list of one.
        file: The uploaded sound.

    Raises:
        RequestError: A field is unknown, missing, malformed, or not supported here.
    """
    wire = validate(TranscriptionCreateRequest, _gathered(fields))
    if wire.stream:
        raise RequestError("Transcriptions are not streamed here.", param="stream", code="unsupported_value")
    if wire.timestamp_granularities and wire.response_format != "verbose_json":
        raise RequestError(
            "'timestamp_granularities' needs response_format=verbose_json.", param="timestamp_granularities"
        )
    if wire.max_words_per_line is not None and wire.response_format not in TIMED_FORMATS:
        raise RequestError("'max_words_per_line' needs response_format=srt or vtt.", param="max_words_per_line")
    if wire.language and wire.languages and wire.languages != (wire.language,):
        raise RequestError("'language' and 'languages' contradict each other.", param="languages")
    if wire.chunking_strategy == "auto" and wire.vad_filter is False:
        raise RequestError("'chunking_strategy' auto needs the voice detector.", param="vad_filter")
    request = TranscriptionRequest(
        audio=file,
        language=wire.language or next(iter(wire.languages), None),
        prompt=wire.prompt,
        hotwords=wire.keywords,
        beam_size=wire.beam_size,
        word_timestamps=wire.response_format in TIMED_FORMATS or "word" in wire.timestamp_granularities,
        vad_filter=wire.vad_filter or wire.chunking_strategy == "auto",
    )
    if isinstance(wire.temperature, tuple):
        request = replace(request, temperature=wire.temperature)
    elif wire.temperature > 0:
        request = replace(request, temperature=(wire.temperature,))
    return TranscriptionCall(
        model=wire.model,
        request=request,
        response_format=wire.response_format,
        granularities=wire.timestamp_granularities or ("segment",),
        max_words_per_line=wire.max_words_per_line or subtitles.MAX_WORDS_PER_LINE,
    )


def _gathered(fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The form as an object: `name` and `name[]` are one field, and only lists come more than once."""
    gathered: dict[str, Any] = {}
    for key, values in fields.items():
        name = key.removesuffix("[]")
        if name in NOT_YET:
            raise RequestError(NOT_YET[name], param=name, code="unsupported_parameter")
        if name.startswith("chunking_strategy["):
            raise RequestError("Only the chunking strategy 'auto' is available here.", param="chunking_strategy")
        if name not in TranscriptionCreateRequest.model_fields:
            raise RequestError(f"Unknown parameter: '{key[:64]}'.", param=key[:64], code="unknown_parameter")
        if name in LISTS and (name != "temperature" or key.endswith("[]") or len(values) > 1):
            gathered[name] = [*gathered.get(name, ()), *values]
        elif len(values) > 1 or name in gathered:
            raise RequestError(f"'{name}' was sent more than once.", param=name)
        else:
            gathered.update((name, value) for value in values)
    if gathered.get("response_format") == "diarized_json":
        raise RequestError("Speakers are not told apart here.", param="response_format", code="unsupported_value")
    return gathered


class UsageDuration(WireReply):
    """What was heard."""

    type: Literal["duration"]
    seconds: float


class Transcription(WireReply):
    """The reply in `json`."""

    text: str
    usage: UsageDuration
    timings: Timings


class TranscriptionWord(WireReply):
    """A word of a `TranscriptionVerbose`; times in seconds."""

    word: str
    start: float
    end: float
    probability: float
    """Ours."""


class TranscriptionSegment(WireReply):
    """A stretch of speech of a `TranscriptionVerbose`; times in seconds."""

    id: int
    seek: int
    """Where it starts, in frames of 10 ms."""
    start: float
    end: float
    text: str
    tokens: Sequence[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class TranscriptionVerbose(WireReply, omit_defaults=True, kw_only=True):
    """The reply in `verbose_json`. `words` and `segments` are there if they were asked for."""

    task: str
    language: str
    """ISO 639-1 code."""
    language_probability: float
    """Ours."""
    duration: float
    text: str
    words: list[TranscriptionWord] | None = None
    segments: list[TranscriptionSegment] | None = None
    usage: UsageDuration
    timings: Timings


def render(call: TranscriptionCall, events: Sequence[SpeechEvent]) -> Rendered:
    """The reply that the call asked for.

    Args:
        call: What `parse` gave.
        events: All events of the transcription, in order.
    """
    segments = [event for event in events if isinstance(event, Segment)]
    text = "".join(segment.text for segment in segments).strip()
    match call.response_format:
        case "text":
            return Rendered(f"{text}\n".encode(), "text/plain; charset=utf-8")
        case "srt":
            lines = subtitles.srt(segments, max_words_per_line=call.max_words_per_line)
            return Rendered(lines.encode(), "text/plain; charset=utf-8")
        case "vtt":
            lines = subtitles.vtt(segments, max_words_per_line=call.max_words_per_line)
            return Rendered(lines.encode(), "text/vtt; charset=utf-8")
        case "json" | "verbose_json":
            reply = _json(call, text, segments, events)
            return Rendered(msgspec.json.encode(reply), "application/json")


def _json(
    call: TranscriptionCall, text: str, segments: Sequence[Segment], events: Sequence[SpeechEvent]
) -> Transcription | TranscriptionVerbose:
    info = next(event for event in events if isinstance(event, TranscriptionInfo))
    done = next(event for event in events if isinstance(event, TranscriptionDone))
    duration = round(info.duration_s, 3)
    usage = UsageDuration(type="duration", seconds=duration)
    timings = Timings(generation_ms=round(done.generation_ms, 3))
    if call.response_format == "json":
        return Transcription(text=text, usage=usage, timings=timings)
    return TranscriptionVerbose(
        task=call.request.task,
        language=info.language,
        language_probability=round(info.language_probability, 4),
        duration=duration,
        text=text,
        words=_words(segments) if "word" in call.granularities else None,
        segments=[_segment(segment) for segment in segments] if "segment" in call.granularities else None,
        usage=usage,
        timings=timings,
    )


def _words(segments: Sequence[Segment]) -> list[TranscriptionWord]:
    return [
        TranscriptionWord(word.text.strip(), round(word.start, 3), round(word.end, 3), round(word.probability, 4))
        for segment in segments
        for word in segment.words
    ]


def _segment(segment: Segment) -> TranscriptionSegment:
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
