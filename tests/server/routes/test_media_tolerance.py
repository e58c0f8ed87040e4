"""What tools send on the media routes: empty fields, unknown fields, older models' defaults, file ids, HEAD."""

import io
import wave
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PIL import Image
from support.servers import Running, serving


def wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))
    return out.getvalue()


NARRATION = wav()


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (9, 99, 199)).save(out, "PNG")
    return out.getvalue()


def form(server: Running, path: str, files: dict[str, Any], **fields: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/{path}", data=fields, files=files, timeout=60)


def test_an_empty_form_field_is_absent(fake_server: Running) -> None:
    empty = dict.fromkeys(
        ("language", "temperature", "prompt", "response_format", "stream", "beam_size", "vad_filter"), ""
    )
    audio = {"file": ("a.wav", NARRATION)}
    reply = form(fake_server, "audio/transcriptions", audio, model="fake-speech", **empty, **{"keywords[]": ""})
    assert reply.status_code == 200, reply.text
    reply = form(fake_server, "audio/translations", audio, model="fake-speech", temperature="", prompt="")
    assert reply.status_code == 200, reply.text
    image = {"image": ("a.png", png()), "mask": ("", b"")}
    sizes = dict.fromkeys(("size", "n", "quality", "seed", "strength", "response_format", "width"), "")
    reply = form(fake_server, "images/edits", image, model="fake-image", prompt="x", **sizes)
    assert reply.status_code == 200, reply.text
    video = dict.fromkeys(("size", "seconds", "seed", "fps", "keyframes", "negative_prompt"), "")
    reply = form(fake_server, "videos", {"input_reference": ("", b"")}, model="fake-video", prompt="x", **video)
    assert reply.status_code == 200, reply.text


def test_unknown_fields_of_forms_follow_the_setting(tmp_path: Path) -> None:
    audio = {"file": ("a.wav", NARRATION)}
    for setting in ("accept", "refuse"):
        with serving(tmp_path / setting, MUYBRIDGE_UNKNOWN_FIELDS=setting) as server:
            replies = [
                form(server, "audio/transcriptions", audio, model="fake-speech", colour="red"),
                form(server, "audio/transcriptions", audio | {"other": ("b.wav", b"x")}, model="fake-speech"),
                form(server, "images/edits", {"image": png()}, model="fake-image", prompt="x", colour="red"),
                form(server, "videos", {"x": (None, "")}, model="fake-video", prompt="x", colour="red"),
            ]
        assert [reply.status_code for reply in replies] == [200 if setting == "accept" else 400] * 4


@pytest.mark.parametrize("model", ["dall-e-2", "dall-e-3"])
def test_older_models_reply_with_urls(fake_server: Running, model: str) -> None:
    def data(**more: Any) -> dict[str, Any]:
        body = {"model": model, "prompt": "x", **more}
        reply = httpx.post(f"{fake_server.url}/v1/images/generations", json=body, timeout=60)
        if reply.status_code == 404:
            pytest.skip(f"the fakes have no alias {model}")
        assert reply.status_code == 200, reply.text
        return reply.json()["data"][0]

    url = data()["url"]
    assert data(response_format="b64_json")["b64_json"]
    head, body = httpx.head(url), httpx.get(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(body.content))
    assert head.headers["content-type"] == body.headers["content-type"] == "image/png"


def test_an_uploaded_file_is_an_edits_image_and_a_videos_first_frame(
    client: openai.OpenAI, fake_server: Running
) -> None:
    file = client.files.create(file=("a.png", png()), purpose="vision")
    edit = {"model": "fake-image", "prompt": "x", "images": [{"file_id": file.id}]}
    reply = httpx.post(f"{fake_server.url}/v1/images/edits", json=edit, timeout=60)
    assert reply.status_code == 200, reply.text
    video = {
        "model": "fake-video",
        "prompt": "x",
        "size": "64x64",
        "seconds": "1",
        "input_reference": {"file_id": file.id},
    }
    reply = httpx.post(f"{fake_server.url}/v1/videos", json=video, timeout=60)
    assert reply.status_code == 200, reply.text
    reply = form(
        fake_server,
        "videos",
        {"x": (None, "")},
        model="fake-video",
        prompt="x",
        **{"input_reference[file_id]": file.id},
    )
    assert reply.status_code == 200, reply.text
    for missing in ({"file_id": "file-none"}, {"file_id": file.id, "image_url": "data:,"}, {}):
        reply = httpx.post(f"{fake_server.url}/v1/videos", json=video | {"input_reference": missing}, timeout=60)
        assert reply.status_code in (400, 404)
        assert reply.json()["error"]["param"].startswith("input_reference")
    assert httpx.head(f"{fake_server.url}/v1/files/{file.id}/content").status_code == 200


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8; charset=utf-8", 'application/json;charset="UTF-8"']
)
def test_a_charset_that_is_sent_twice_is_accepted(fake_server: Running, content_type: str) -> None:
    body = b'{"model": "fake-image", "prompt": "x", "size": "64x64"}'
    headers = {"content-type": content_type}
    assert httpx.post(f"{fake_server.url}/v1/images/generations", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("prompt", ["", "  ", "\n"])
def test_a_blank_prompt_is_a_clear_400(fake_server: Running, prompt: str) -> None:
    for path, model in (("images/generations", "fake-image"), ("videos", "fake-video")):
        reply = httpx.post(f"{fake_server.url}/v1/{path}", json={"model": model, "prompt": prompt})
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == "prompt"


def test_voice_defaults_of_agents_work(fake_server: Running) -> None:
    body = {
        "model": "gpt-4o-mini-tts",
        "input": "Hi",
        "voice": "alloy",
        "response_format": "pcm",
        "instructions": "Cheerful.",
    }
    reply = httpx.post(f"{fake_server.url}/v1/audio/speech", json=body, timeout=60)
    assert reply.status_code == 200, reply.text
    for model in ("gpt-4o-transcribe", "gpt-4o-mini-transcribe"):
        reply = form(fake_server, "audio/transcriptions", {"file": ("a.wav", NARRATION)}, model=model)
        assert reply.status_code == 200, reply.text
