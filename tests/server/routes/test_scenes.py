"""POST /v1/scenes/validations, on the fake."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from support.servers import Running, serving

from adapters.catalog.catalog import ConfigurationError, load_catalog
from adapters.fake.images import png

PICTURE = png(16, 16, (1, 2, 3))
DATA_URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
NO_PICTURE = "data:image/png;base64," + base64.b64encode(b"hello").decode()
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
        ({"image": NO_PICTURE}, "image"),
    ],
)
def test_promise_22_and_28_a_wrong_parameter_is_named(fake_server: Running, change: dict, param: str) -> None:
    body = {"model": "fake-vision", "image": DATA_URL, "description": DESCRIPTION, **change}
    reply = httpx.post(f"{fake_server.url}/v1/scenes/validations", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


def compared(server: Running, **changes: Any) -> httpx.Response:
    body = {"model": "fake-vision", "images": [DATA_URL, {"image_url": {"url": DATA_URL}}], **changes}
    return httpx.post(f"{server.url}/v1/scenes/consistency", json=body)


def test_keyframes_are_compared_through_the_sdks_client(client: openai.OpenAI) -> None:
    others = ["data:image/png;base64," + base64.b64encode(png(8, 8, (n, 0, 0))).decode() for n in range(3)]
    body = {"model": "fake-vision", "images": others, "aspects": ["subject", "light"], "threshold": 0.4}
    reply: dict[str, Any] = client.post("/scenes/consistency", body=body, cast_to=dict[str, Any])
    assert reply["object"] == "scene.consistency"
    assert reply["method"] == "pairs_and_set"
    assert [aspect["name"] for aspect in reply["aspects"]] == ["subject", "light"]
    assert [(pair["first"], pair["second"]) for pair in reply["pairs"]] == [(0, 1), (0, 2), (1, 2)]
    assert reply["is_consistent"] == (reply["consistency_score"] >= 0.4) == (not reply["inconsistencies"])
    assert all(aspect["is_consistent"] == (aspect["probability"] >= 0.4) for aspect in reply["aspects"])
    assert reply["analysis"]
    assert reply["usage"]["total_tokens"] > 0


def test_keyframes_may_come_as_files_or_by_their_ids(fake_server: Running, client: openai.OpenAI) -> None:
    other = png(8, 8, (9, 0, 0))
    ids = [client.files.create(file=("x.png", data), purpose="vision").id for data in (PICTURE, other)]
    urls = ["data:image/png;base64," + base64.b64encode(data).decode() for data in (PICTURE, other)]
    fields = {"model": "fake-vision", "aspects": '["subject"]'}
    replies = [compared(fake_server, images=urls, aspects=["subject"])]
    replies.append(compared(fake_server, images=[{"file_id": one} for one in ids], aspects=["subject"]))
    for name in ("images", "images[]"):
        files = [(name, ("x.png", data)) for data in (PICTURE, other)]
        replies.append(httpx.post(f"{fake_server.url}/v1/scenes/consistency", data=fields, files=files))
    assert len({json.dumps(reply.json()["pairs"]) for reply in replies}) == 1
    for one in ids:
        client.files.delete(one)
    gone = compared(fake_server, images=[{"file_id": one} for one in ids])
    assert (gone.status_code, gone.json()["error"]["param"]) == (404, "images[0].file_id")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"images": [DATA_URL]}, "images"),
        ({"images": [DATA_URL] * 33}, "images"),
        ({"images": None}, "images"),
        ({"images": [DATA_URL, "http://127.0.0.1/x.png"]}, "images[1]"),
        ({"images": [DATA_URL, {"file_id": "x", "image_url": DATA_URL}]}, "images[1]"),
        ({"images": [DATA_URL, {}]}, "images[1]"),
        ({"images": [DATA_URL, NO_PICTURE]}, "images[1]"),
        ({"aspects": []}, "aspects"),
        ({"aspects": ["a", "a "]}, "aspects[1]"),
        ({"aspects": [" "]}, "aspects[0]"),
        ({"aspects": [f"a{n}" for n in range(17)]}, "aspects"),
        ({"threshold": -0.1}, "threshold"),
        ({"model": "fake-text"}, "model"),
    ],
)
def test_promise_22_and_28_a_wrong_comparison_is_named(fake_server: Running, change: dict, param: str) -> None:
    reply = compared(fake_server, **change)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


def test_thirty_two_keyframes_are_the_most(fake_server: Running) -> None:
    assert len(compared(fake_server, images=[DATA_URL] * 32).json()["pairs"]) == 128


CATALOG = """
models:
  strict-vision:
    {kind: vision, backend: fake-text, defaults: {threshold: 1.0, aspects: [mood]}, options: {max_images: 2}}
profiles:
  strict: {models: [strict-vision]}
"""


def test_a_model_has_its_own_threshold_aspects_and_room(tmp_path: Path) -> None:
    own = tmp_path / "catalog.yaml"
    own.write_text(CATALOG)
    with serving(tmp_path, profile="strict", MUYBRIDGE_CATALOG=str(own)) as running:
        url = f"{running.url}/v1/scenes"
        body = {"model": "strict-vision", "image": DATA_URL, "description": DESCRIPTION}
        assert "threshold of 1." in httpx.post(f"{url}/validations", json=body).json()["explanation"]
        eased = httpx.post(f"{url}/validations", json={**body, "threshold": 0}).json()
        assert eased["is_valid"]
        body = {"model": "strict-vision", "images": [DATA_URL] * 3}
        reply = httpx.post(f"{url}/consistency", json=body).json()
    assert [aspect["name"] for aspect in reply["aspects"]] == ["mood"]
    assert not reply["is_consistent"]
    assert (reply["method"], reply["aspects"][0]["set_probability"]) == ("pairs", None)


def test_promise_30_wrong_defaults_of_scenes_are_found_before_a_model_loads(tmp_path: Path) -> None:
    own = tmp_path / "catalog.yaml"
    own.write_text(CATALOG.replace("1.0", "1.5"))
    with pytest.raises(ConfigurationError, match=r"catalog.yaml:4.*threshold"):
        load_catalog(own)
