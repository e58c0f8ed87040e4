"""POST /v1/audio/transcriptions, on the fake."""

import io
import wave

import httpx
import openai
import pytest
from support.servers import Running


def sound(seconds: float) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\0" * int(8000 * seconds))
    return "speech.wav", buffer.getvalue()


def test_every_format(client: openai.OpenAI) -> None:
    create, file = client.audio.transcriptions.create, sound(7)
    assert create(model="fake-speech", file=file).text == "one two three four five six seven"
    assert create(model="fake-speech", file=file, response_format="text").strip() == "one two three four five six seven"
    srt = create(model="fake-speech", file=file, response_format="srt", extra_body={"max_words_per_line": 3})
    lines = [block.splitlines()[2] for block in srt.strip().split("\n\n")]
    assert " ".join(lines) == "one two three four five six seven"
    assert max(len(line.split()) for line in lines) == 3
    assert create(model="fake-speech", file=file, response_format="vtt").startswith("WEBVTT")
    verbose = create(
        model="fake-speech", file=file, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert [word.word for word in verbose.words][:2] == ["one", "two"]
    assert [segment.id for segment in verbose.segments] == [0, 1]
    assert verbose.duration == pytest.approx(7)
    words = create(model="fake-speech", file=file, response_format="verbose_json", timestamp_granularities=["word"])
    assert words.segments is None


def test_what_is_no_sound_is_a_400(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.audio.transcriptions.create(model="fake-speech", file=("x.wav", b"no sound"))
    assert (error.value.param, error.value.code) == ("file", "invalid_media")


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": "json", "timestamp_granularities[]": "word"},
        {"response_format": "xml"},
        {"stream": "true", "response_format": "srt"},
        {"include[]": "logprobs", "response_format": "text"},
        {"chunking_strategy": "auto", "vad_filter": "false"},
        {"temperature": "2"},
        {"beam_size": "0"},
        {"max_words_per_line": "0", "response_format": "srt"},
    ],
)
def test_promise_28_a_wrong_field_is_named(fake_server: Running, fields: dict[str, str]) -> None:
    data = {"model": "fake-speech", **fields}
    reply = httpx.post(f"{fake_server.url}/v1/audio/transcriptions", data=data, files={"file": sound(1)})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"] in [name.removesuffix("[]") for name in fields]


def test_a_stream_of_deltas_through_the_sdk(client: openai.OpenAI) -> None:
    events = list(
        client.audio.transcriptions.create(
            model="fake-speech", file=sound(7), stream=True, include=["logprobs"], languages=["de", "fr"]
        )
    )
    *deltas, done = events
    assert [event.type for event in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    assert "".join(event.delta for event in deltas) == done.text == "one two three four five six seven"
    assert [token.token for event in deltas for token in event.logprobs] == [token.token for token in done.logprobs]
    assert [language.code for language in done.languages] == ["de"]


def test_what_goes_wrong_before_the_first_item_is_a_status(fake_server: Running, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.audio.transcriptions.create(model="fake-speech", file=("x.wav", b"no sound"), stream=True)
    assert (error.value.param, error.value.code) == ("file", "invalid_media")
    fake_server.wait_for_metric('muybridge_model_leases{model="fake-speech"}', 0)


def test_what_goes_wrong_later_is_said_in_the_stream(client: openai.OpenAI) -> None:
    events = client.audio.transcriptions.create(
        model="fake-speech", file=sound(7), stream=True, prompt="[fail_after=2]"
    )
    assert next(events).type == "transcript.text.delta"
    with pytest.raises(openai.APIError) as error:
        next(events)
    assert error.value.code == "generation_failed"


@pytest.mark.parametrize("stream", [False, True])
def test_an_upload_is_gone_once_its_reply_is(fake_server: Running, client: openai.OpenAI, stream: bool) -> None:
    reply = client.audio.transcriptions.create(model="fake-speech", file=sound(7), stream=stream)
    if stream:
        assert list(reply)
    uploads = fake_server.log.parent / "data" / "uploads"
    assert [path for path in uploads.rglob("*") if path.is_file() and path.stat().st_size] == []


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the SDK's view of OpenAI's own service
def test_a_translation(client: openai.OpenAI) -> None:
    create, file = client.audio.translations.create, sound(7)
    assert create(model="fake-speech", file=file).text == "one two three four five six seven"
    verbose = create(model="fake-speech", file=file, response_format="verbose_json")
    assert verbose.language == "english"
    assert [segment.id for segment in verbose.segments] == [0, 1]
    assert create(model="fake-speech", file=file, response_format="vtt").startswith("WEBVTT")


def test_a_language_detection(fake_server: Running) -> None:
    url = f"{fake_server.url}/v1/audio/language_detections"
    reply = httpx.post(url, data={"model": "fake-speech"}, files={"file": sound(1)})
    assert reply.status_code == 200, reply.text
    assert reply.json()["language"] == "en"
    assert [one["language"] for one in reply.json()["candidates"]] == ["en", "de"]
    refused = httpx.post(url, files={"model": (None, "fake-speech")})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "file")
