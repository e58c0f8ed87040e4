"""The wire of transcriptions: every field of the SDK's own parameters, and replies as the SDK's own types read them."""

import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import srt
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from openai.types import audio as sdk
from openai.types.audio.transcription_create_params import TranscriptionCreateParamsNonStreaming
from openai.types.audio.transcription_language import TranscriptionLanguage
from openai.types.audio.translation_create_params import TranslationCreateParams
from pydantic import TypeAdapter

from adapters.base import (
    CandidateToken,
    LanguageDetection,
    Media,
    Segment,
    TranscriptionDone,
    TranscriptionInfo,
    TranscriptionRequest,
    VoiceDetection,
    Word,
)
from compat.audio import languages, stream, transcriptions
from compat.errors import RequestError

SOUND = Media("audio/wav", data=b"RIFF")
EVENTS = [
    TranscriptionInfo("en", 0.98765432, 3.0001),
    Segment(
        id=0,
        start=0.0,
        end=1.5,
        text=" The horse",
        tokens=(50364, 440, 6832),
        temperature=0.0,
        avg_logprob=-0.25,
        compression_ratio=1.25,
        no_speech_prob=0.01,
        words=(Word(0.0, 0.5, " The", 0.9), Word(0.5, 1.5, " horse", 0.8)),
    ),
    Segment(
        id=1,
        start=1.75,
        end=3.0,
        text=" ran & won.",
        tokens=(5872,),
        temperature=0.2,
        avg_logprob=-0.5,
        compression_ratio=1.5,
        no_speech_prob=0.02,
        words=(Word(1.75, 2.0, " ran", 0.7), Word(2.0, 2.2, " &", 0.6), Word(2.2, 3.0, " won.", 0.5)),
    ),
    TranscriptionDone(123.45678),
]


def parse(**fields: Any) -> transcriptions.TranscriptionCall:
    """Parses a form; a list is what came several times, and names may end in `[]`."""
    form = {key: value if isinstance(value, list) else [value] for key, value in fields.items()}
    return transcriptions.parse({"model": ["whisper-1"], **form}, SOUND)


def refused(**fields: Any) -> RequestError:
    with pytest.raises(RequestError) as error:
        parse(**fields)
    assert error.value.status == 400
    return error.value


def render(**fields: Any) -> Any:
    rendered = transcriptions.render(parse(**fields), EVENTS)
    return json.loads(rendered.body) if rendered.media_type == "application/json" else rendered.body.decode()


def test_the_least_that_can_be_asked() -> None:
    assert parse() == transcriptions.TranscriptionCall(
        model="whisper-1",
        request=TranscriptionRequest(SOUND, word_timestamps=False),
        response_format="json",
        granularities=("segment",),
        max_words_per_line=10,
    )


def test_everything_that_can_be_asked() -> None:
    call = parse(
        **{
            "language": "en",
            "languages[]": ["en"],
            "prompt": "About horses.",
            "keywords[]": ["Muybridge", "Sallie Gardner"],
            "response_format": "verbose_json",
            "temperature": "0.5",
            "timestamp_granularities[]": ["word", "segment"],
            "chunking_strategy": "auto",
            "stream": "false",
            "beam_size": "3",
            "vad_filter": "true",
        }
    )
    assert call.granularities == ("word", "segment")
    assert call.request == TranscriptionRequest(
        SOUND,
        language="en",
        prompt="About horses.",
        hotwords=("Muybridge", "Sallie Gardner"),
        beam_size=3,
        word_timestamps=True,
        vad_filter=True,
        chunked=True,
        temperature=(0.5,),
    )


def test_the_detector_of_chunks_is_set_as_the_sdk_writes_objects() -> None:
    strategy = {
        "chunking_strategy[type]": "server_vad",
        "chunking_strategy[threshold]": "0.25",
        "chunking_strategy[silence_duration_ms]": "300",
        "chunking_strategy[prefix_padding_ms]": "100",
    }
    request = parse(**strategy).request
    assert (request.chunked, request.vad_filter) == (True, True)
    assert request.voice == VoiceDetection(0.25, 300, 100)
    assert parse(**{"chunking_strategy[type]": "server_vad"}).request.voice == VoiceDetection(0.5)
    assert parse(chunking_strategy="auto").request.voice == VoiceDetection()


def test_several_languages_are_candidates_and_one_is_the_language() -> None:
    call = parse(**{"languages[]": ["en", "de"]})
    assert (call.request.language, call.request.languages, call.languages) == (None, ("en", "de"), True)
    call = parse(**{"languages[]": ["en", "de"], "language": "de"})
    assert (call.request.language, call.request.languages, call.languages) == ("de", (), True)
    reply = json.loads(transcriptions.render(call, EVENTS).body)
    assert sdk.Transcription.model_validate(reply, strict=True).languages == [TranscriptionLanguage(code="en")]


def test_a_translation_is_asked_for_and_read_as_openai_does() -> None:
    fields = {"model": ["m"], "prompt": ["About horses."], "response_format": ["verbose_json"], "beam_size": ["2"]}
    call = transcriptions.parse_translation(fields, SOUND)
    assert call.request == TranscriptionRequest(
        SOUND, task="translate", prompt="About horses.", beam_size=2, word_timestamps=False
    )
    reply = json.loads(transcriptions.render(call, EVENTS).body)
    assert sdk.TranslationVerbose.model_validate(reply, strict=True).language == "english"
    assert (reply["task"], reply["source_language"]) == ("translate", "en")
    assert set(TranslationCreateParams.__annotations__) == {
        "file",
        *transcriptions.TranslationCreateRequest.model_fields,
    } - {"beam_size", "vad_filter", "max_words_per_line"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("language", "de"), ("stream", "true"), ("include[]", "logprobs"), ("chunking_strategy[type]", "server_vad")],
)
def test_what_only_transcriptions_know_is_refused_of_translations(name: str, value: str) -> None:
    with pytest.raises(RequestError) as refusal:
        transcriptions.parse_translation({"model": ["m"], name: [value]}, SOUND)
    assert (refusal.value.param, refusal.value.code) == (name, "unknown_parameter")


GENERATED_SOUNDTRACK = (CandidateToken("the", b"the", -0.25), CandidateToken("\ufffd", b"\xe2", -1.5))
LIKELY = [
    EVENTS[0],
    replace(EVENTS[1], logprobs=GENERATED_SOUNDTRACK[:1]),
    replace(EVENTS[2], logprobs=GENERATED_SOUNDTRACK[1:]),
    EVENTS[3],
]


def test_logprobs_of_the_text() -> None:
    reply = json.loads(transcriptions.render(parse(**{"include[]": "logprobs"}), LIKELY).body)
    assert reply["logprobs"] == [
        {"token": "the", "bytes": [116, 104, 101], "logprob": -0.25},
        {"token": "\ufffd", "bytes": [226], "logprob": -1.5},
    ]
    assert sdk.Transcription.model_validate(reply).logprobs


async def streamed(call: transcriptions.TranscriptionCall, events: list[Any]) -> list[Any]:
    async def made() -> AsyncGenerator[Any]:
        for event in events:
            yield event

    frames = [frame async for frame in stream.stream(call, made())]
    assert frames[-1] == b"data: [DONE]\n\n"
    wire = TypeAdapter(sdk.TranscriptionStreamEvent)
    payloads = [json.loads(frame.removeprefix(b"data: ")) for frame in frames[:-1]]
    for payload in payloads:
        wire.validate_python(payload)
    return payloads


async def test_a_stream_is_deltas_and_then_the_whole_text() -> None:
    *deltas, done = await streamed(parse(stream="true"), EVENTS)
    assert deltas == [
        {"type": "transcript.text.delta", "delta": "The horse"},
        {"type": "transcript.text.delta", "delta": " ran & won."},
    ]
    assert (done["type"], done["text"]) == ("transcript.text.done", "The horse ran & won.")
    assert "logprobs" not in done


async def test_a_stream_carries_logprobs_and_languages_where_they_were_asked_for() -> None:
    call = parse(**{"stream": "true", "include[]": "logprobs", "languages[]": ["en", "fr"]})
    first, second, done = await streamed(call, LIKELY)
    assert done["logprobs"] == first["logprobs"] + second["logprobs"]
    assert done["languages"] == [{"code": "en"}]


async def test_the_stream_of_silence_is_its_end() -> None:
    (done,) = await streamed(parse(stream="true"), [EVENTS[0], EVENTS[3]])
    assert done["text"] == ""


@given(st.lists(st.text(max_size=8), max_size=6))
async def test_all_deltas_together_are_the_text(texts: list[str]) -> None:
    segments = [replace(EVENTS[1], text=text) for text in texts]
    *deltas, done = await streamed(parse(stream="true"), [EVENTS[0], *segments, EVENTS[3]])
    assert "".join(delta["delta"] for delta in deltas) == done["text"] == "".join(texts).strip()
    assert all(delta["delta"] for delta in deltas)


def test_a_language_detection() -> None:
    found = LanguageDetection("en", 0.75, (("en", 0.75), ("de", 0.25)))
    assert languages.parse({"model": ["m"]}) == "m"
    assert msgspec.to_builtins(languages.render(found)) == snapshot(
        {
            "object": "audio.language_detection",
            "language": "en",
            "confidence": 0.75,
            "candidates": [{"language": "en", "confidence": 0.75}, {"language": "de", "confidence": 0.25}],
        }
    )
    with pytest.raises(RequestError):
        languages.parse({"model": ["m"], "language": ["en"]})


@pytest.mark.parametrize("key", ["timestamp_granularities", "timestamp_granularities[]"])
def test_a_list_of_one_comes_under_either_name(key: str) -> None:
    assert parse(**{key: "word", "response_format": "verbose_json"}).granularities == ("word",)
    assert parse(**{"languages": "de"}).request.language == "de"


@pytest.mark.parametrize(
    ("fields", "temperature"),
    [
        ({}, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ({"temperature": "0"}, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ({"temperature": "0.3"}, (0.3,)),
        ({"temperature[]": ["0", "0.4"]}, (0.0, 0.4)),
        ({"temperature[]": "0"}, (0.0,)),
    ],
)
def test_temperature(fields: dict[str, Any], temperature: tuple[float, ...]) -> None:
    assert parse(**fields).request.temperature == temperature


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": []}, "model", "missing_required_parameter"),
        ({"model": ["a", "b"]}, "model", "invalid_value"),
        ({"colour": "red"}, "colour", "unknown_parameter"),
        ({"file": "not a file"}, "file", "unknown_parameter"),
        ({"lora[name]": "x"}, "lora[name]", "unknown_parameter"),
        ({"response_format": "xml"}, "response_format", "invalid_value"),
        ({"response_format": "diarized_json"}, "response_format", "unsupported_value"),
        ({"stream": "true", "response_format": "srt"}, "response_format", "unsupported_value"),
        ({"stream": "true", "response_format": "verbose_json"}, "response_format", "unsupported_value"),
        ({"stream": "perhaps"}, "stream", "invalid_value"),
        ({"include[]": "logprobs", "response_format": "verbose_json"}, "include", "invalid_value"),
        ({"include[]": "words"}, "include[0]", "invalid_value"),
        ({"known_speaker_names[]": "Ann"}, "known_speaker_names", "unsupported_parameter"),
        ({"chunking_strategy": '{"type": "server_vad"}'}, "chunking_strategy", "invalid_value"),
        ({"chunking_strategy[type]": "semantic_vad"}, "chunking_strategy.type", "invalid_value"),
        ({"chunking_strategy[threshold]": "0.5"}, "chunking_strategy.type", "missing_required_parameter"),
        (
            {"chunking_strategy[type]": "server_vad", "chunking_strategy[colour]": "red"},
            "chunking_strategy.colour",
            "unknown_parameter",
        ),
        (
            {"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "1.1"},
            "chunking_strategy.threshold",
            "invalid_value",
        ),
        ({"chunking_strategy[type]": ["server_vad", "server_vad"]}, "chunking_strategy", "invalid_value"),
        ({"chunking_strategy": "auto", "chunking_strategy[type]": "server_vad"}, "chunking_strategy", "invalid_value"),
        ({"chunking_strategy[type]": "server_vad", "vad_filter": "false"}, "vad_filter", "invalid_value"),
        ({"chunking_strategy": "auto", "vad_filter": "false"}, "vad_filter", "invalid_value"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities", "invalid_value"),
        ({"timestamp_granularities[]": "word", "response_format": "srt"}, "timestamp_granularities", "invalid_value"),
        ({"timestamp_granularities[]": "line"}, "timestamp_granularities[0]", "invalid_value"),
        ({"max_words_per_line": "5"}, "max_words_per_line", "invalid_value"),
        ({"languages[]": ["en"] * 17}, "languages", "invalid_value"),
        ({"language": "en", "languages[]": "de"}, "languages", "invalid_value"),
        ({"language": ""}, "language", "invalid_value"),
        ({"temperature": "warm"}, "temperature", "invalid_value"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str, code: str | None) -> None:
    error = refused(**fields)
    assert (error.param, error.code) == (param, code)
    assert error.message


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("beam_size", ["1", "20"], ["0", "21", "-1", "1.5", "many"]),
        ("temperature", ["0", "1"], ["-0.1", "1.01", "nan", "inf", "1e999"]),
        ("prompt", ["", "x" * 32_000], ["x" * 32_001]),
        ("language", ["x" * 32], ["x" * 33]),
        ("keywords", ["x" * 200], ["", "x" * 201]),
        ("model", ["x" * 256], ["", "x" * 257]),
    ],
)
def test_promise_28_every_number_and_text_has_bounds(name: str, good: list[str], bad: list[str]) -> None:
    for value in good:
        parse(**{name: value})
    for value in bad:
        assert (refused(**{name: value}).param or "").startswith(name)


def test_promise_28_lists_and_lines_have_bounds() -> None:
    assert parse(max_words_per_line="100", response_format="srt").max_words_per_line == 100
    assert refused(max_words_per_line="101", response_format="srt").param == "max_words_per_line"
    assert refused(**{"keywords[]": ["x"] * 257}).param == "keywords"
    assert refused(**{"temperature[]": ["0"] * 17}).param == "temperature"


@given(st.dictionaries(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=3), max_size=4))
def test_promise_7_any_form_is_parsed_or_refused(form: dict[str, list[str]]) -> None:
    with suppress(RequestError):
        transcriptions.parse({"model": ["m"], **form}, SOUND)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.lists(
                st.one_of(st.text(max_size=8), st.sampled_from(["0", "1", "true", "srt", "word", "auto", "en"]))
            )
            for name in transcriptions.TranscriptionCreateRequest.model_fields
        },
    )
)
def test_promise_7_any_values_are_parsed_or_refused(form: dict[str, list[str]]) -> None:
    with suppress(RequestError):
        transcriptions.parse({"model": ["m"], **form}, SOUND)


def test_every_parameter_of_the_sdk_is_known() -> None:
    ours = {*transcriptions.TranscriptionCreateRequest.model_fields, *transcriptions.SPEAKER_FIELDS, "file"}
    assert set(TranscriptionCreateParamsNonStreaming.__annotations__) <= ours


def test_json() -> None:
    reply = render()
    assert reply == snapshot(
        {
            "text": "The horse ran & won.",
            "usage": {"type": "duration", "seconds": 3.0},
            "timings": {"generation_ms": 123.457, "tokens_per_second": None},
        }
    )
    assert sdk.Transcription.model_validate(reply, strict=True).text == "The horse ran & won."


def test_verbose_json_has_segments_by_default() -> None:
    reply = render(response_format="verbose_json")
    assert reply == snapshot(
        {
            "task": "transcribe",
            "language": "english",
            "language_probability": 0.9877,
            "duration": 3.0,
            "text": "The horse ran & won.",
            "segments": [
                {
                    "id": 0,
                    "seek": 0,
                    "start": 0.0,
                    "end": 1.5,
                    "text": " The horse",
                    "tokens": [50364, 440, 6832],
                    "temperature": 0.0,
                    "avg_logprob": -0.25,
                    "compression_ratio": 1.25,
                    "no_speech_prob": 0.01,
                },
                {
                    "id": 1,
                    "seek": 175,
                    "start": 1.75,
                    "end": 3.0,
                    "text": " ran & won.",
                    "tokens": [5872],
                    "temperature": 0.2,
                    "avg_logprob": -0.5,
                    "compression_ratio": 1.5,
                    "no_speech_prob": 0.02,
                },
            ],
            "usage": {"type": "duration", "seconds": 3.0},
            "timings": {"generation_ms": 123.457, "tokens_per_second": None},
        }
    )
    assert sdk.TranscriptionVerbose.model_validate(reply, strict=True).words is None


def test_verbose_json_with_words_alone_has_no_segments() -> None:
    reply = render(**{"response_format": "verbose_json", "timestamp_granularities[]": "word"})
    assert "segments" not in reply
    assert reply["words"][:2] == snapshot(
        [
            {"word": "The", "start": 0.0, "end": 0.5, "probability": 0.9},
            {"word": "horse", "start": 0.5, "end": 1.5, "probability": 0.8},
        ]
    )
    read = sdk.TranscriptionVerbose.model_validate(reply, strict=True)
    assert read.words is not None
    assert [word.word for word in read.words] == ["The", "horse", "ran", "&", "won."]


def test_verbose_json_with_both() -> None:
    reply = render(**{"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]})
    read = sdk.TranscriptionVerbose.model_validate(reply, strict=True)
    assert read.segments is not None
    assert read.words is not None
    assert (len(read.segments), len(read.words)) == (2, 5)


def test_text_srt_and_vtt() -> None:
    assert render(response_format="text") == "The horse ran & won.\n"
    lines = list(srt.parse(render(response_format="srt", max_words_per_line="2")))
    assert [line.content for line in lines] == ["The horse", "ran", "& won."]
    assert render(response_format="vtt").startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nThe horse\n")
    assert parse(response_format="srt").request.word_timestamps


def test_media_types_say_utf_8() -> None:
    types = {
        name: transcriptions.render(parse(response_format=name), EVENTS).media_type for name in ("text", "srt", "vtt")
    }
    assert types == {
        "text": "text/plain; charset=utf-8",
        "srt": "text/plain; charset=utf-8",
        "vtt": "text/vtt; charset=utf-8",
    }


def test_silence_is_an_empty_transcription() -> None:
    silence = [TranscriptionInfo("en", 0.5, 2.0), TranscriptionDone(1.0)]
    assert json.loads(transcriptions.render(parse(), silence).body)["text"] == ""
    verbose = json.loads(transcriptions.render(parse(response_format="verbose_json"), silence).body)
    assert verbose["segments"] == []
    assert transcriptions.render(parse(response_format="srt"), silence).body == b""


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp_granularities[0]": "word", "timestamp_granularities[1]": "segment"},
        {"timestamp_granularities": '["word", "segment"]'},
        {"timestamp_granularities[]": '["word","segment"]'},
    ],
)
def test_a_list_is_read_as_other_clients_write_it(fields: dict[str, str]) -> None:
    assert parse(**fields, response_format="verbose_json").granularities == ("word", "segment")
    assert parse(**{"keywords": "[sic]"}).request.hotwords == parse(**{"keywords[]": "[sic]"}).request.hotwords
