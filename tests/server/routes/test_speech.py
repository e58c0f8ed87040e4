"""POST /v1/audio/speech, on the fake: formats, streams, refusals and clients that go away."""

import base64
import io
import json
import time
from typing import Any

import av
import httpx
import openai
import pytest
from support.servers import Running

LOSSY_S = 0.12
"""What MP3 and AAC may add at the ends."""


def body(**more: Any) -> dict[str, Any]:
    return {"model": "fake-voice", "input": "one two three four", "voice": "alloy", **more}


def post(server: Running, **more: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/audio/speech", json=body(**more), timeout=60)


def seconds(data: bytes) -> float:
    with av.open(io.BytesIO(data)) as container:
        rate = container.streams.audio[0].rate
        return sum(frame.samples for frame in container.decode(audio=0)) / rate


@pytest.mark.parametrize(
    ("response_format", "media_type"),
    [("mp3", "audio/mpeg"), ("opus", "audio/ogg"), ("aac", "audio/aac"), ("flac", "audio/flac"), ("wav", "audio/wav")],
)
def test_every_format_decodes_to_its_length(client: openai.OpenAI, response_format: Any, media_type: str) -> None:
    for speed in (0.25, 1.0, 4.0):
        reply = client.audio.speech.create(**body(response_format=response_format, speed=speed))
        assert reply.response.headers["content-type"] == media_type
        assert 1 / speed - 0.001 <= seconds(reply.content) <= 1 / speed + LOSSY_S


def test_mp3_is_the_default_and_pcm_is_bare(client: openai.OpenAI) -> None:
    reply = client.audio.speech.create(model="tts-1", input="one two", voice="nova")
    assert reply.response.headers["content-type"] == "audio/mpeg"
    assert "content-length" not in reply.response.headers
    assert reply.response.headers["x-request-id"]
    pcm = client.audio.speech.create(**body(response_format="pcm")).content
    assert len(pcm) == 2 * 24_000


def test_a_voice_may_come_as_an_object_and_sounds_its_own(client: openai.OpenAI) -> None:
    name, as_object, other = (
        client.audio.speech.create(**body(voice=voice, response_format="pcm")).content
        for voice in ("echo", {"id": "echo"}, "nova")
    )
    assert name == as_object != other


def test_events_hold_the_same_bytes_and_end_with_the_usage(fake_server: Running) -> None:
    whole = post(fake_server, response_format="flac").content
    reply = post(fake_server, response_format="flac", stream_format="sse")
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in reply.text.split("\n\n") if line]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == whole
    assert events[-1] == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 4, "output_tokens": 4, "total_tokens": 8},
    }


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
def test_it_is_sent_as_it_is_spoken(fake_server: Running, stream_format: str) -> None:
    request = body(input="[delay_ms=300] " + "word " * 10, response_format="wav", stream_format=stream_format)
    begun = time.monotonic()
    with httpx.stream("POST", f"{fake_server.url}/v1/audio/speech", json=request, timeout=60) as reply:
        pieces = reply.iter_raw()
        next(pieces)
        first = time.monotonic() - begun
        for _ in pieces:
            pass
    assert first < 2 < 3 < time.monotonic() - begun


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": " \n\t "}, "input"),
        ({"input": "x" * 4097}, "input"),
        ({"input": None}, "input"),
        ({"input": ["a"]}, "input"),
        ({"voice": "nobody"}, "voice"),
        ({"voice": ""}, "voice"),
        ({"voice": "../../etc/passwd"}, "voice"),
        ({"voice": {"id": "voice_1234"}}, "voice"),
        ({"voice": "a" * 65}, "voice"),
        ({"response_format": "ogg"}, "response_format"),
        ({"response_format": "MP3"}, "response_format"),
        ({"speed": 0.2499}, "speed"),
        ({"speed": 4.0001}, "speed"),
        ({"speed": "1"}, "speed"),
        ({"speed": True}, "speed"),
        ({"stream_format": "events"}, "stream_format"),
        ({"model": ""}, "model"),
    ],
)
def test_promise_28_what_cannot_be_honoured_names_its_field(
    fake_server: Running, change: dict[str, Any], param: str
) -> None:
    reply = post(fake_server, **change)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param


def test_the_limits_themselves_are_honoured(fake_server: Running) -> None:
    for change in (
        {"input": "x" * 4096},
        {"speed": 0.25},
        {"speed": 4},
        {"instructions": "Whisper."},
        {"instructions": None},
    ):
        assert post(fake_server, **change).status_code == 200, change


def test_promise_8_nul_and_broken_text_are_400(fake_server: Running) -> None:
    for raw in (b'{"model":"fake-voice","input":"\xff","voice":"alloy"}', b'{"input":"\\ud800"', b"[]", b""):
        headers = {"content-type": "application/json"}
        reply = httpx.post(f"{fake_server.url}/v1/audio/speech", content=raw, headers=headers)
        assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


def test_only_a_voice_speaks(fake_server: Running) -> None:
    assert post(fake_server, model="fake-text").status_code == 400
    assert post(fake_server, model="nothing").status_code == 404


def test_a_failure_before_the_first_bytes_is_a_status_and_later_a_broken_reply(fake_server: Running) -> None:
    assert post(fake_server, input="[fail_after=0] one").status_code == 500
    request = body(input="[fail_after=2] one two three four", response_format="pcm")
    with httpx.stream("POST", f"{fake_server.url}/v1/audio/speech", json=request) as reply:
        assert reply.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            reply.read()
    events = post(fake_server, **(request | {"stream_format": "sse"})).text
    assert "speech.audio.done" not in events
    assert json.loads(events.strip().split("\n\n")[-1].removeprefix("data: "))["error"]["message"]


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
def test_promise_10_a_client_that_goes_away_ends_the_speech_within_a_second(
    fake_server: Running, stream_format: str
) -> None:
    lease = 'muybridge_model_leases{model="fake-voice"}'
    request = body(input="[delay_ms=200] " + "word " * 600, response_format="pcm", stream_format=stream_format)
    with httpx.stream("POST", f"{fake_server.url}/v1/audio/speech", json=request, timeout=60) as reply:
        pieces = reply.iter_raw()
        next(pieces)
        fake_server.wait_for_metric(lease, 1.0)
    fake_server.wait_for_metric(lease, 0.0)
