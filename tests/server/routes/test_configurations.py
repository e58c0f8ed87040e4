"""GET /v1/configurations/{kind} and POST /v1/configurations/validate."""

from typing import Any

import httpx
import openai
import pytest
from support.servers import Running


def test_defaults_by_our_name_and_the_seeds(client: openai.OpenAI) -> None:
    ours: Any = client.get("/configurations/video", cast_to=object)
    assert ours == client.get("/configurations/video-generation", cast_to=object)
    assert ours["object"] == "configuration"
    assert (ours["width"], ours["height"], ours["num_frames"]) == (768, 512, 121)
    assert ours["defaults"] == {"fps": 24, "num_inference_steps": 50, "guidance_scale": 7.5}
    with pytest.raises(openai.NotFoundError) as missing:
        client.get("/configurations/smell", cast_to=object)
    assert missing.value.code == "unknown_kind"


@pytest.mark.parametrize("kind", ["text", "vision", "embedding", "speech", "image", "video"])
def test_what_is_given_validates(client: openai.OpenAI, kind: str) -> None:
    config: Any = client.get(f"/configurations/{kind}", cast_to=object)
    found: Any = client.post("/configurations/validate", cast_to=object, body=config)
    assert found["object"] == "configuration.validation"
    assert found["estimated_memory_bytes"] > (1e9 if kind != "embedding" else 5e8)
    wrapped: Any = client.post("/configurations/validate", cast_to=object, body={"configuration": config})
    assert wrapped["estimated_memory_bytes"] == found["estimated_memory_bytes"]


def test_the_seeds_names_and_result(client: openai.OpenAI) -> None:
    body = {
        "model_type": "speech-recognition", "model_name": "Systran/faster-whisper-large-v3",
        "device": "cpu", "compute_type": "int8", "batch_size": 16,
    }  # fmt: skip
    found: Any = client.post("/configurations/validate", cast_to=object, body=body)
    assert found["is_valid"]
    assert found["errors"] == []
    assert found["warnings"] == ["batch_size: has no effect on speech models; leave it out"]
    assert found["recommendations"] == {}
    assert found["estimated_memory_bytes"] == pytest.approx(2.9e9, rel=0.2)


def test_a_configuration_that_cannot_work_is_a_result(client: openai.OpenAI) -> None:
    body = {"kind": "vision", "model": "phi-3.5-vision"}
    found: Any = client.post("/configurations/validate", cast_to=object, body=body)
    assert not found["is_valid"]
    assert "cannot be loaded" in found["errors"][0]
    assert found["estimated_memory_bytes"] is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"kind": "text"}, "model"),
        ({"kind": "smell", "model": "sdxl"}, "kind"),
        ({"kind": "text", "model": "m", "batch_size": 0}, "batch_size"),
        ({"kind": "text", "model": "m", "batch_size": "4"}, "batch_size"),
        ({"kind": "text", "model": "m", "speed": 9}, "speed"),
        ({"configuration": 3}, "configuration"),
        ({"configuration": {"kind": "text"}, "kind": "text"}, "configuration"),
    ],
)
def test_what_is_no_configuration_is_a_400(fake_server: Running, body: Any, param: str) -> None:
    reply = httpx.post(f"{fake_server.url}/v1/configurations/validate", json=body)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
