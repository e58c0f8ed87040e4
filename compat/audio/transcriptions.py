"""/v1/audio/transcriptions and /v1/audio/translations: what is asked for, and the reply to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field

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
from compat.audio.replies import (
    Transcription,
    TranscriptionLanguage,
    TranscriptionVerbose,
    UsageDuration,
    logprobs_of,
    segment_of,
    words_of,
)
from compat.errors import RequestError
from compat.wire import FormRequest, Timings, WireRequest, validate

ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
Granularity = Literal["word", "segment"]

MAX_BEAMS = 20
MAX_WORDS_PER_LINE = 100
MAX_LANGUAGES = 16
TIMED_FORMATS = ("srt", "vtt")
STREAMED_FORMATS = ("json", "text")

NOT_YET = {
    "known_speaker_names": "Speakers are not told apart here.",
    "known_speaker_references": "Speakers are not told apart here.",
}
"""OpenAI's fields that this server knows, but cannot honour."""

Temperature = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Keyword = Annotated[str, Field(min_length=1, max_length=200)]
Language = Annotated[str, Field(min_length=1, max_length=32)]


class ChunkingStrategyVadConfig(FormRequest):
    """How the voice detector that cuts the sound into chunks is set."""

    type: Literal["server_vad"]
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    silence_duration_ms: Annotated[int, Field(ge=0, le=60_000)] | None = None
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5_000)] | None = None


class TranslationCreateRequest(FormRequest):
    """The form of POST /v1/audio/translations; `file` comes beside it."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    prompt: Annotated[str, Field(max_length=32_000)] = ""
    response_format: ResponseFormat = "json"
    temperature: Annotated[tuple[Temperature, ...], Field(min_length=1, max_length=16)] | Temperature = 0.0
    """A list is ours: tried in order. OpenAI's 0 means that it rises by itself until the text is good enough."""

    beam_size: Annotated[int, Field(ge=1, le=MAX_BEAMS)] = 5
    """Ours."""
    vad_filter: bool | None = None
    """Ours: skip what a voice detector takes for silence."""
    max_words_per_line: Annotated[int, Field(ge=1, le=MAX_WORDS_PER_LINE)] | None = None
    """Ours: of subtitles."""


class TranscriptionCreateRequest(TranslationCreateRequest):
    """The form of POST /v1/audio/transcriptions, as far as this server honours it; `file` comes beside it."""

    language: Language | None = None
    languages: Annotated[tuple[Language, ...], Field(max_length=MAX_LANGUAGES)] = ()
    """Of which one is spoken."""
    keywords: Annotated[tuple[Keyword, ...], Field(max_length=256)] = ()
    timestamp_granularities: tuple[Granularity, ...] = ()
    include: tuple[Literal["logprobs"], ...] = ()
    chunking_strategy: ChunkingStrategyVadConfig | Literal["auto"] | None = None
    stream: bool = False


LISTS = ("languages", "keywords", "timestamp_granularities", "include", "temperature")
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
    stream: bool = False
    """Whether the text is wanted as it is written."""
    languages: bool = False
    """Whether the reply says which language it was."""


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
    wire = validate(TranscriptionCreateRequest, _gathered(fields, TranscriptionCreateRequest))
    _check(wire)
    alone = wire.languages[0] if len(set(wire.languages)) == 1 else None
    strategy = wire.chunking_strategy
    request = replace(
        _request(wire, file),
        language=wire.language or alone,
        languages=() if wire.language or alone else wire.languages,
        hotwords=wire.keywords,
        word_timestamps=wire.response_format in TIMED_FORMATS or "word" in wire.timestamp_granularities,
        vad_filter=bool(wire.vad_filter) or strategy is not None,
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
    """What a client wants written down in English. Arguments and errors as `parse`."""
    wire = validate(TranslationCreateRequest, _gathered(fields, TranslationCreateRequest))
    _check_lines(wire)
    # Words of a translation are not said anywhere in the sound: lines take their times from segments.
    request = replace(_request(wire, file), task="translate", word_timestamps=False)
    return TranscriptionCall(
        model=wire.model,
        request=request,
        response_format=wire.response_format,
        granularities=("segment",),
        max_words_per_line=wire.max_words_per_line or subtitles.MAX_WORDS_PER_LINE,
    )


def _request(wire: TranslationCreateRequest, file: Media) -> TranscriptionRequest:
    """What both routes know."""
    request = TranscriptionRequest(
        audio=file, prompt=wire.prompt, beam_size=wire.beam_size, vad_filter=bool(wire.vad_filter)
    )
    if isinstance(wire.temperature, tuple):
        return replace(request, temperature=wire.temperature)
    return replace(request, temperature=(wire.temperature,)) if wire.temperature > 0 else request


def _check(wire: TranscriptionCreateRequest) -> None:
    """Refuses fields that contradict each other."""
    if wire.stream and wire.response_format not in STREAMED_FORMATS:
        raise RequestError("Only json and text are streamed.", param="response_format", code="unsupported_value")
    if wire.timestamp_granularities and wire.response_format != "verbose_json":
        raise RequestError(
            "'timestamp_granularities' needs response_format=verbose_json.", param="timestamp_granularities"
        )
    if wire.include and wire.response_format != "json":
        raise RequestError("'include' needs response_format=json.", param="include")
    _check_lines(wire)
    if wire.language and wire.languages and wire.language not in wire.languages:
        raise RequestError("'language' and 'languages' contradict each other.", param="languages")
    if wire.chunking_strategy is not None and wire.vad_filter is False:
        raise RequestError("'chunking_strategy' needs the voice detector.", param="vad_filter")


def _check_lines(wire: TranslationCreateRequest) -> None:
    if wire.max_words_per_line is not None and wire.response_format not in TIMED_FORMATS:
        raise RequestError("'max_words_per_line' needs response_format=srt or vtt.", param="max_words_per_line")


def _gathered(fields: Mapping[str, Sequence[str]], form: type[WireRequest]) -> dict[str, Any]:
    """The form as an object: `name` and `name[]` are one field, and only lists come more than once.

    `chunking_strategy[type]` and the like, which is how the SDK writes an object in a form, become one.
    """
    gathered: dict[str, Any] = {}
    for key, values in fields.items():
        name = key.removesuffix("[]")
        if name in NOT_YET and form is TranscriptionCreateRequest:
            raise RequestError(NOT_YET[name], param=name, code="unsupported_parameter")
        outer, bracket, inner = name.partition("[")
        if bracket and inner.endswith("]") and outer == "chunking_strategy" and outer in form.model_fields:
            strategy = gathered.setdefault(outer, {})
            if not isinstance(strategy, dict) or len(values) != 1:
                raise RequestError(f"'{outer}' was sent more than once.", param=outer)
            strategy[inner[:-1]] = values[0]
            continue
        if name not in form.model_fields:
            raise RequestError(f"Unknown parameter: '{key[:64]}'.", param=key[:64], code="unknown_parameter")
        if name in LISTS and (name != "temperature" or key.endswith("[]") or len(values) > 1):
            gathered[name] = [*gathered.get(name, ()), *values]
        elif len(values) > 1 or name in gathered:
            raise RequestError(f"'{name}' was sent more than once.", param=name)
        else:
            gathered.update((name, value) for value in values)
    if gathered.get("response_format") == "diarized_json":
        raise RequestError(
            "Telling speakers apart needs a diarization model, and there is no backend for one: take verbose_json.",
            param="response_format",
            code="unsupported_value",
        )
    return gathered


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
        language="english" if translated else info.language,
        source_language=info.language if translated else None,
        language_probability=round(info.language_probability, 4),
        duration=duration,
        text=text,
        words=words_of(segments) if "word" in call.granularities else None,
        segments=[segment_of(segment) for segment in segments] if "segment" in call.granularities else None,
        usage=usage,
        timings=timings,
    )
