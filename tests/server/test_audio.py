"""POST /v1/audio/transcriptions, on the fake."""

import io
import wave

import httpx
import openai
import pytest
from conftest import Running


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
        {"stream": "true"},
        {"temperature": "2"},
        {"beam_size": "0"},
        {"frobnicate": "1"},
        {"max_words_per_line": "0", "response_format": "srt"},
    ],
)
def test_promise_28_a_wrong_field_is_named(fake_server: Running, fields: dict[str, str]) -> None:
    data = {"model": "fake-speech", **fields}
    reply = httpx.post(f"{fake_server.url}/v1/audio/transcriptions", data=data, files={"file": sound(1)})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"] in [name.removesuffix("[]") for name in fields]
