"""POST /v1/scenes/validations, on the fake."""

import base64
from typing import Any

import httpx
import openai
import pytest
from conftest import Running

from adapters.fake import png

PICTURE = png(16, 16, (1, 2, 3))
DATA_URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
DESCRIPTION = "A dark, mysterious forest at twilight with fog"


def test_a_scene_is_validated_through_the_sdks_client(client: openai.OpenAI) -> None:
    body = {"model": "fake-vision", "image": DATA_URL, "description": DESCRIPTION}
    reply: dict[str, Any] = client.post("/scenes/validations", body=body, cast_to=dict[str, Any])
    assert reply["object"] == "scene.validation"
    assert 0 <= reply["match_score"] <= 1
    assert reply["is_valid"] == (reply["match_score"] >= 0.5)
    elements = reply["matched_elements"] + reply["mismatched_elements"]
    assert {element["text"] for element in elements} == {"A dark, mysterious forest at twilight", "fog"}
    assert all(0 <= element["probability"] <= 1 for element in elements)
    assert reply["explanation"]


def test_a_file_and_an_object_mean_the_same(fake_server: Running) -> None:
    url = f"{fake_server.url}/v1/scenes/validations"
    fields = {"model": "fake-vision", "description": DESCRIPTION}
    replies = [
        httpx.post(url, data=fields, files={"image": ("x.png", PICTURE)}),
        httpx.post(url, json=fields | {"image": {"image_url": DATA_URL}}),
        httpx.post(url, json=fields | {"image": DATA_URL}),
    ]
    assert len({reply.json()["match_score"] for reply in replies}) == 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"image": "http://127.0.0.1/x.png"}, "image"),
        ({"image": "file:///etc/passwd"}, "image"),
        ({"image": "data:text/html;base64,AAAA"}, "image"),
        ({"image": "data:image/png;base64,???"}, "image"),
        ({"image": None}, "image"),
        ({"description": ""}, "description"),
        ({"description": "..."}, "description"),
        ({"description": "x" * 9000}, "description"),
        ({"threshold": 1.1}, "threshold"),
        ({"model": "fake-text"}, "model"),
        ({"aspects": []}, "aspects"),
    ],
)
def test_promise_22_and_28_a_wrong_parameter_is_named(fake_server: Running, change: dict, param: str) -> None:
    body = {"model": "fake-vision", "image": DATA_URL, "description": DESCRIPTION, **change}
    reply = httpx.post(f"{fake_server.url}/v1/scenes/validations", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
