"""Uploaded images, by their ids, in chat and in responses."""

from typing import Any

import httpx
import openai
import pytest
from support.servers import SERVER_KEYS, Running

from adapters.fake.images import png

PICTURE = png(16, 16, (1, 2, 3))
KEY, OTHER = SERVER_KEYS


@pytest.fixture(scope="module")
def keyed(keyed_server: Running) -> Running:
    return keyed_server


def asked(sdk: openai.OpenAI, file_id: str) -> list[Any]:
    """The same in chat and in responses."""
    file: Any = {"type": "file", "file": {"file_id": file_id, "filename": "x.png"}}
    image: Any = {"type": "input_image", "file_id": file_id, "detail": "original"}
    text = "What is it?"
    return [
        lambda: sdk.chat.completions.create(
            model="fake-vision",
            messages=[{"role": "user", "content": [file, {"type": "text", "text": text}]}],
        ),
        lambda: sdk.responses.create(
            model="fake-vision",
            input=[{"role": "user", "content": [image, {"type": "input_text", "text": text}]}],
        ),
    ]


def test_an_uploaded_image_is_shown_by_its_id_and_by_nobody_else(keyed: Running) -> None:
    mine, others = keyed.sdk(key=KEY), keyed.sdk(key=OTHER)
    file = mine.files.create(file=("x.png", PICTURE), purpose="vision")
    for ask in asked(mine, file.id):
        assert ask().model == "fake-vision"
    for ask in asked(others, file.id):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert caught.value.code == "file_not_found"
        assert (caught.value.param or "").endswith("file_id")
    mine.files.delete(file.id)
    for ask in asked(mine, file.id):
        with pytest.raises(openai.NotFoundError):
            ask()


def test_a_conversation_goes_on_with_its_uploaded_image(client: openai.OpenAI) -> None:
    file = client.files.create(file=("x.png", PICTURE), purpose="vision")
    image: Any = {"type": "input_image", "file_id": file.id, "detail": "low"}
    first = client.responses.create(model="fake-vision", input=[{"role": "user", "content": [image]}])
    items = client.responses.input_items.list(first.id).data
    assert items[0].content[0].file_id == file.id
    assert client.responses.create(model="fake-vision", previous_response_id=first.id, input="And now?").output_text
    client.files.delete(file.id)
    again = client.responses.create(model="fake-vision", previous_response_id=first.id, input="And now?")
    assert again.output_text, "a conversation goes on without an image that is gone"


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "file", "file": {}}, "messages[0].content[0].file"),
        ({"type": "file", "file": {"file_id": "a", "file_data": "b"}}, "messages[0].content[0].file"),
        ({"type": "file", "file": {"file_id": "../x"}}, "messages[0].content[0].file.file_id"),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}, "messages[0].content[0].file.file_data"),
        ({"type": "image_url", "image_url": {"url": "x", "detail": "huge"}}, "messages[0].content[0].image_url.detail"),
    ],
)  # fmt: skip
def test_promise_28_what_is_wrong_with_a_file_is_named(fake_server: Running, part: Any, param: str) -> None:
    body = {"model": "fake-vision", "messages": [{"role": "user", "content": [part]}]}
    reply = httpx.post(f"{fake_server.url}/v1/chat/completions", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
