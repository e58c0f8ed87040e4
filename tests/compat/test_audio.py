"""The wire of transcriptions: every field of the SDK's own parameters, and replies as the SDK's own types read them."""

import json
from contextlib import suppress
from typing import Any

import pytest
import srt
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from openai.types import audio as sdk
from openai.types.audio.transcription_create_params import TranscriptionCreateParamsNonStreaming

from adapters.base import Media, Segment, TranscriptionDone, TranscriptionInfo, TranscriptionRequest, Word
from compat import audio
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


def parse(**fields: Any) -> audio.TranscriptionCall:
    """Parses a form; a list is what came several times, and names may end in `[]`."""
    form = {key: value if isinstance(value, list) else [value] for key, value in fields.items()}
    return audio.parse({"model": ["whisper-1"], **form}, SOUND)


def refused(**fields: Any) -> RequestError:
    with pytest.raises(RequestError) as error:
        parse(**fields)
    assert error.value.status == 400
    return error.value


def render(**fields: Any) -> Any:
    rendered = audio.render(parse(**fields), EVENTS)
    return json.loads(rendered.body) if rendered.media_type == "application/json" else rendered.body.decode()


def test_the_least_that_can_be_asked() -> None:
    assert parse() == audio.TranscriptionCall(
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
        temperature=(0.5,),
    )


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
        ({"model": ["a", "b"]}, "model", None),
        ({"colour": "red"}, "colour", "unknown_parameter"),
        ({"file": "not a file"}, "file", "unknown_parameter"),
        ({"lora[name]": "x"}, "lora[name]", "unknown_parameter"),
        ({"response_format": "xml"}, "response_format", "invalid_value"),
        ({"response_format": "diarized_json"}, "response_format", "unsupported_value"),
        ({"stream": "true"}, "stream", "unsupported_value"),
        ({"stream": "perhaps"}, "stream", "invalid_value"),
        ({"include[]": "logprobs"}, "include", "unsupported_parameter"),
        ({"known_speaker_names[]": "Ann"}, "known_speaker_names", "unsupported_parameter"),
        ({"chunking_strategy": '{"type": "server_vad"}'}, "chunking_strategy", "invalid_value"),
        ({"chunking_strategy[type]": "server_vad"}, "chunking_strategy", None),
        ({"chunking_strategy": "auto", "vad_filter": "false"}, "vad_filter", None),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities", None),
        ({"timestamp_granularities[]": "word", "response_format": "srt"}, "timestamp_granularities", None),
        ({"timestamp_granularities[]": "line"}, "timestamp_granularities[0]", "invalid_value"),
        ({"max_words_per_line": "5"}, "max_words_per_line", None),
        ({"languages[]": ["en", "de"]}, "languages", "invalid_value"),
        ({"language": "en", "languages[]": "de"}, "languages", None),
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
        audio.parse({"model": ["m"], **form}, SOUND)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.lists(
                st.one_of(st.text(max_size=8), st.sampled_from(["0", "1", "true", "srt", "word", "auto", "en"]))
            )
            for name in audio.TranscriptionCreateRequest.model_fields
        },
    )
)
def test_promise_7_any_values_are_parsed_or_refused(form: dict[str, list[str]]) -> None:
    with suppress(RequestError):
        audio.parse({"model": ["m"], **form}, SOUND)


def test_every_parameter_of_the_sdk_is_known() -> None:
    ours = {*audio.TranscriptionCreateRequest.model_fields, *audio.NOT_YET, "file"}
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
            "language": "en",
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
    types = {name: audio.render(parse(response_format=name), EVENTS).media_type for name in ("text", "srt", "vtt")}
    assert types == {
        "text": "text/plain; charset=utf-8",
        "srt": "text/plain; charset=utf-8",
        "vtt": "text/vtt; charset=utf-8",
    }


def test_silence_is_an_empty_transcription() -> None:
    silence = [TranscriptionInfo("en", 0.5, 2.0), TranscriptionDone(1.0)]
    assert json.loads(audio.render(parse(), silence).body)["text"] == ""
    verbose = json.loads(audio.render(parse(response_format="verbose_json"), silence).body)
    assert verbose["segments"] == []
    assert audio.render(parse(response_format="srt"), silence).body == b""
