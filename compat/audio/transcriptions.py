"""/v1/audio/transcriptions and /v1/audio/translations: schemas, parse and render."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, Field

from adapters.base import (
    Media,
    Segment,
    SpeechEvent,
    TranscriptionDone,
    TranscriptionInfo,
    TranscriptionRequest,
    VoiceDetection,
)
from compat.audio import subtitles
from compat.audio.languages import language_code, language_name
from compat.audio.replies import (
    Transcription,
    TranscriptionLanguage,
    TranscriptionVerbose,
    UsageDuration,
    logprobs_of,
    segment_of,
    words_of,
)
from compat.errors import invalid
from compat.wire import FormRequest, Timings, WireRequest, validate

ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
Granularity = Literal["word", "segment"]

MAX_BEAMS = 20
MAX_WORDS_PER_LINE = 100
MAX_LANGUAGES = 16
TIMED_FORMATS = ("srt", "vtt")
STREAMED_FORMATS = ("json", "text")

AUTOMATIC = ("auto", "detect")
"""What some clients send as a language to have it detected."""

SPEAKER_FIELDS = ("known_speaker_names", "known_speaker_references")
"""OpenAI's fields for speaker diarization, which this server does not have."""

Temperature = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Keyword = Annotated[str, Field(min_length=1, max_length=200)]
LanguageField = Annotated[str, Field(min_length=1, max_length=32), AfterValidator(language_code)]


class ChunkingStrategyVadConfig(FormRequest):
    """Options of the voice activity detection that splits the audio into chunks."""

    type: Literal["server_vad"]
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    silence_duration_ms: Annotated[int, Field(ge=0, le=60_000)] | None = None
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5_000)] | None = None


class TranslationCreateRequest(FormRequest):
    """The form of POST /v1/audio/translations, without `file`."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    prompt: Annotated[str, Field(max_length=32_000)] = ""
    response_format: ResponseFormat = "json"
    temperature: Annotated[tuple[Temperature, ...], Field(min_length=1, max_length=16)] | Temperature = 0.0
    """A list, an extension, is tried in order. OpenAI's 0 means that it rises until the text is good enough."""

    beam_size: Annotated[int, Field(ge=1, le=MAX_BEAMS)] = 5
    """An extension."""
    vad_filter: bool | None = None
    """An extension: skip audio without speech, by voice activity detection. By default, only audio without any speech
    is skipped; false transcribes that, too."""
    max_words_per_line: Annotated[int, Field(ge=1, le=MAX_WORDS_PER_LINE)] | None = None
    """An extension: of subtitles."""


class TranscriptionCreateRequest(TranslationCreateRequest):
    """The form of POST /v1/audio/transcriptions, as far as this server supports it, without `file`."""

    language: LanguageField | None = None
    """A code, a name or a locale: "en", "English", "en-US"."""
    languages: Annotated[tuple[LanguageField, ...], Field(max_length=MAX_LANGUAGES)] = ()
    """The possible languages; one of them is spoken."""
    keywords: Annotated[tuple[Keyword, ...], Field(max_length=256)] = ()
    timestamp_granularities: tuple[Granularity, ...] = ()
    include: tuple[Literal["logprobs"], ...] = ()
    chunking_strategy: ChunkingStrategyVadConfig | Literal["auto"] | None = None
    stream: bool = False


LISTS = ("languages", "keywords", "timestamp_granularities", "include", "temperature")
"""Fields that may be sent several times, as `name[]`. A list of one is sent as `name[]` or `name`, and by some
clients as `name[0]` or as JSON."""
_INDEX = re.compile(r"\[\d{0,3}\]$")


@dataclass(frozen=True, slots=True)
class TranscriptionCall:
    """A parsed request."""

    model: str
    request: TranscriptionRequest
    response_format: ResponseFormat
    granularities: tuple[Granularity, ...]
    """The details of `verbose_json`."""
    max_words_per_line: int
    stream: bool = False
    """Whether to stream the text."""
    languages: bool = False
    """Whether the reply contains the detected language."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A reply's body and its media type."""

    body: bytes
    media_type: str


def parse(fields: Mapping[str, Sequence[str]], file: Media) -> TranscriptionCall:
    """The request behind a form.

    Args:
        fields: The form's text fields, each with all its values.
        file: The uploaded audio.

    Raises:
        RequestError: A field is unknown, missing, malformed, or not supported here.
    """
    wire = validate(TranscriptionCreateRequest, _gathered(fields, TranscriptionCreateRequest))
    _check(wire)
    wished = None if wire.language in AUTOMATIC else wire.language
    alone = wire.languages[0] if len(set(wire.languages)) == 1 else None
    strategy = wire.chunking_strategy
    request = replace(
        _request(wire, file),
        language=wished or alone,
        languages=() if wished or alone else wire.languages,
        hotwords=wire.keywords,
        word_timestamps=wire.response_format in TIMED_FORMATS or "word" in wire.timestamp_granularities,
        vad_filter=wire.vad_filter if strategy is None else True,
        chunked=strategy is not None,
        logprobs="logprobs" in wire.include,
    )
    if isinstance(strategy, ChunkingStrategyVadConfig):
        voice = VoiceDetection(strategy.threshold, strategy.silence_duration_ms, strategy.prefix_padding_ms)
        request = replace(request, voice=voice)
    return TranscriptionCall(
        model=wire.model,
        request=request,
        response_format=wire.response_format,
        granularities=wire.timestamp_granularities or ("segment",),
        max_words_per_line=wire.max_words_per_line or subtitles.MAX_WORDS_PER_LINE,
        stream=wire.stream,
        languages=bool(wire.languages),
    )


def parse_translation(fields: Mapping[str, Sequence[str]], file: Media) -> TranscriptionCall:
    """The request for a translation into English. Arguments and errors as for `parse`."""
    wire = validate(TranslationCreateRequest, _gathered(fields, TranslationCreateRequest))
    _check_lines(wire)
    # The words of a translation are not in the audio: lines take their times from segments.
    request = replace(_request(wire, file), task="translate", word_timestamps=False)
    return TranscriptionCall(
        model=wire.model,
        request=request,
        response_format=wire.response_format,
        granularities=("segment",),
        max_words_per_line=wire.max_words_per_line or subtitles.MAX_WORDS_PER_LINE,
    )


def _request(wire: TranslationCreateRequest, file: Media) -> TranscriptionRequest:
    """The fields of both routes."""
    request = TranscriptionRequest(audio=file, prompt=wire.prompt, beam_size=wire.beam_size, vad_filter=wire.vad_filter)
    if isinstance(wire.temperature, tuple):
        return replace(request, temperature=wire.temperature)
    return replace(request, temperature=(wire.temperature,)) if wire.temperature > 0 else request


def _check(wire: TranscriptionCreateRequest) -> None:
    """Checks fields that depend on each other."""
    if wire.stream and wire.response_format not in STREAMED_FORMATS:
        raise invalid("response_format", "must be 'json' or 'text' when 'stream' is true", code="unsupported_value")
    if wire.timestamp_granularities and wire.response_format != "verbose_json":
        raise invalid("timestamp_granularities", "requires 'response_format' to be 'verbose_json'")
    if wire.include and wire.response_format != "json":
        raise invalid("include", "requires 'response_format' to be 'json'")
    _check_lines(wire)
    if wire.language and wire.languages and wire.language not in (*wire.languages, *AUTOMATIC):
        raise invalid("languages", "must contain the value of 'language'")
    if wire.chunking_strategy is not None and wire.vad_filter is False:
        raise invalid("vad_filter", "must not be false with 'chunking_strategy', which uses voice activity detection")


def _check_lines(wire: TranslationCreateRequest) -> None:
    if wire.max_words_per_line is not None and wire.response_format not in TIMED_FORMATS:
        raise invalid("max_words_per_line", "requires 'response_format' to be 'srt' or 'vtt'")


def _gathered(fields: Mapping[str, Sequence[str]], form: type[WireRequest]) -> dict[str, Any]:
    """The form as an object: `name` and `name[]` are one field, and only lists may be sent more than once.

    `chunking_strategy[type]` and the like, the SDK's way to send an object in a form, become an object.
    """
    gathered: dict[str, Any] = {}
    for key, values in fields.items():
        name = _INDEX.sub("", key)
        if name in SPEAKER_FIELDS and form is TranscriptionCreateRequest:
            raise invalid(name, "speaker diarization is not supported; omit the field", code="unsupported_parameter")
        outer, bracket, inner = name.partition("[")
        if bracket and inner.endswith("]") and outer == "chunking_strategy" and outer in form.model_fields:
            strategy = gathered.setdefault(outer, {})
            if not isinstance(strategy, dict) or len(values) != 1:
                raise invalid(outer, "was sent more than once")
            strategy[inner[:-1]] = values[0]
            continue
        if name not in form.model_fields:
            gathered[key] = values  # refused or ignored with the other unknown fields
        elif name in LISTS and (name != "temperature" or key.endswith("[]") or len(values) > 1):
            gathered[name] = [*gathered.get(name, ()), *_items(values)]
        elif len(values) > 1 or name in gathered:
            raise invalid(name, "was sent more than once")
        else:
            gathered.update((name, value) for value in values)
    if gathered.get("response_format") == "diarized_json":
        reason = "speaker diarization is not supported; use 'verbose_json'"
        raise invalid("response_format", reason, code="unsupported_value")
    return gathered


def _items(values: Sequence[str]) -> Sequence[str]:
    """The items of a list, which some clients send as JSON in one field."""
    if len(values) == 1 and values[0].startswith("["):
        with suppress(ValueError, RecursionError):
            return [str(one) for one in json.loads(values[0])]
    return values


def render(call: TranscriptionCall, events: Sequence[SpeechEvent]) -> Rendered:
    """The reply in the requested format.

    Args:
        call: The request.
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
        tokens = [token for segment in segments for token in segment.logprobs]
        return Transcription(
            text=text,
            languages=[TranscriptionLanguage(info.language)] if call.languages else None,
            logprobs=logprobs_of(tokens) if call.request.logprobs else None,
            usage=usage,
            timings=timings,
        )
    translated = call.request.task == "translate"
    return TranscriptionVerbose(
        task=call.request.task,
        language="english" if translated else language_name(info.language),
        source_language=info.language if translated else None,
        language_probability=round(info.language_probability, 4),
        duration=duration,
        text=text,
        words=words_of(segments) if "word" in call.granularities else None,
        segments=[segment_of(segment) for segment in segments] if "segment" in call.granularities else None,
        usage=usage,
        timings=timings,
    )
