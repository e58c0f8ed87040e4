"""POST /v1/images/generations, on the fake."""

import base64
import io

import httpx
import openai
import pytest
from PIL import Image
from support.servers import Running


def picture(data: str | None) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data or "")))


def test_pictures_come_as_base64_png_with_their_seeds(client: openai.OpenAI) -> None:
    reply = client.images.generate(
        model="fake-image", prompt="a fox", n=3, size="64x48", extra_body={"seed": 7, "num_inference_steps": 2}
    )
    assert [picture(image.b64_json).size for image in reply.data] == [(64, 48)] * 3
    assert [image.model_extra["seed"] for image in reply.data] == [7, 8, 9]
    again = client.images.generate(model="fake-image", prompt="a fox", size="64x48", extra_body={"seed": 9})
    assert again.data[0].b64_json == reply.data[2].b64_json


def test_a_picture_as_url_is_served_by_us(client: openai.OpenAI, fake_server: Running) -> None:
    reply = client.images.generate(model="fake-image", prompt="a fox", size="32x32", response_format="url")
    assert reply.data[0].b64_json is None
    got = httpx.get(reply.data[0].url)
    assert (got.status_code, got.headers["content-type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(got.content)).size == (32, 32)
    part = httpx.get(reply.data[0].url, headers={"range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    assert httpx.get(reply.data[0].url, headers={"range": "bytes=999999-"}).status_code == 416


@pytest.mark.parametrize(
    "name", ["x", "../settings", "%2e%2e%2fserver.log", "a" * 32 + ".png", "a" * 32 + ".part", "a" * 5000]
)
def test_promise_23_no_name_leads_out_of_the_folder(fake_server: Running, name: str) -> None:
    reply = httpx.get(f"{fake_server.url}/v1/images/content/{name}")
    assert reply.status_code == 404


def test_the_default_model_and_size(client: openai.OpenAI) -> None:
    reply = client.images.generate(prompt="x", size="auto", extra_body={"num_inference_steps": 1})
    assert picture(reply.data[0].b64_json).size == (1024, 1024)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 32_001}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"size": "big"}, "size"),
        ({"size": "64"}, "size"),
        ({"size": "0x0"}, "size"),
        ({"size": "4097x8"}, "size"),
        ({"size": "4096x4096"}, "size"),
        ({"size": "64x64", "width": 64}, "size"),
        ({"width": 7}, "width"),
        ({"num_inference_steps": 201}, "num_inference_steps"),
        ({"guidance_scale": -1}, "guidance_scale"),
        ({"seed": 2**32}, "seed"),
        ({"seed": 2**32 - 1, "n": 2}, "seed"),
        ({"output_format": "gif"}, "output_format"),
        ({"output_format": "webp"}, "output_format"),
        ({"background": "transparent"}, "background"),
        ({"partial_images": 1}, "partial_images"),
        ({"partial_images": 4, "stream": True}, "partial_images"),
        ({"response_format": "url", "stream": True}, "response_format"),
        ({"quality": "splendid"}, "quality"),
        ({"quality": "high", "num_inference_steps": 3}, "quality"),
        ({"output_compression": 50}, "output_compression"),
        ({"output_compression": 101, "output_format": "webp"}, "output_compression"),
        ({"scheduler": "euler"}, "scheduler"),
        ({"lora": {"name": "x"}}, "lora"),
        ({"lora": {"name": "x", "scale": 11}}, "lora.scale"),
        ({"lora": {"scale": 1}}, "lora.name"),
        ({"lora": [{"name": "x"}] * 9}, "lora"),
        ({"refiner": {}}, "refiner"),
        ({"refiner": {"steps": 0}}, "refiner.steps"),
        ({"true_cfg_scale": 2}, "true_cfg_scale"),
        ({"strength": 0.5}, "strength"),
    ],
)
def test_promise_28_a_wrong_parameter_is_named(fake_server: Running, change: dict, param: str) -> None:
    body = {"model": "fake-image", "prompt": "x", **change}
    reply = httpx.post(f"{fake_server.url}/v1/images/generations", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
