"""POST /v1/images/edits and /v1/images/variations on the fake: forms as the SDK sends them, JSON, and hostile bodies."""

import base64
import io
from typing import Any

import httpx
import openai
import pytest
from PIL import Image
from support.servers import Running

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")


def png(width: int = 40, height: int = 30, alpha: int = 255) -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", (width, height), (9, 99, 199, alpha)).save(out, "PNG")
    return out.getvalue()


def size(data: str | None) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(data or ""))).size


PNG, MASK = png(), png(alpha=0)
URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


def test_an_edit_has_the_pictures_size_and_heeds_picture_mask_and_seed(client: openai.OpenAI) -> None:
    def edited(image: Any = PNG, **more: Any) -> str | None:
        return (
            client.images.edit(model="fake-image", image=image, prompt="x", extra_body={"seed": 1}, **more)
            .data[0]
            .b64_json
        )

    plain = edited()
    assert size(plain) == (40, 30)
    assert edited() == plain
    assert size(edited(size="64x48")) == (64, 48)
    assert len({plain, edited(mask=MASK), edited(image=png(40, 31))}) == 3


def test_edits_stream_previews(client: openai.OpenAI) -> None:
    events = list(client.images.edit(model="fake-image", image=PNG, prompt="x", stream=True, partial_images=2))
    assert [event.type for event in events] == ["image_edit.partial_image"] * 2 + ["image_edit.completed"]
    assert [size(event.b64_json) for event in events] == [(40, 30)] * 3
    assert events[-1].usage.total_tokens == 0


def test_generations_stream_with_or_without_previews(client: openai.OpenAI) -> None:
    for wanted in (0, 3):
        events = list(
            client.images.generate(
                model="fake-image", prompt="x", stream=True, partial_images=wanted, n=2, size="32x32",
                extra_body={"num_inference_steps": 5},
            )
        )  # fmt: skip
        kinds = [event.type for event in events]
        assert kinds == ["image_generation.partial_image"] * 2 * wanted + ["image_generation.completed"] * 2


def test_variations_and_urls(client: openai.OpenAI) -> None:
    reply = client.images.create_variation(model="fake-image", image=PNG, n=2, response_format="url")
    assert [httpx.get(image.url).status_code for image in reply.data] == [200, 200]
    assert size(client.images.create_variation(image=PNG, size="256x256").data[0].b64_json) == (256, 256)


def test_several_names_and_json_mean_the_same(fake_server: Running) -> None:
    url = f"{fake_server.url}/v1/images/edits"
    fields = {"model": "fake-image", "prompt": "x", "seed": "3", "num_inference_steps": "2"}
    replies = [
        httpx.post(url, data=fields, files={"image": ("a.png", PNG)}),
        httpx.post(url, data=fields, files={"image[]": ("a.png", PNG)}),
        httpx.post(url, json={"model": "fake-image", "prompt": "x", "seed": 3, "image": URL}),
        httpx.post(url, json={"model": "fake-image", "prompt": "x", "seed": 3, "images": [{"image_url": URL}]}),
    ]
    assert [reply.status_code for reply in replies] == [200] * 4, [reply.text[:200] for reply in replies]
    assert len({reply.json()["data"][0]["b64_json"] for reply in replies}) == 1


def refusal(fake_server: Running, path: str, fields: dict[str, Any], files: Any) -> tuple[int, Any]:
    uploads = list(files.items() if isinstance(files, dict) else files)
    parts = [*((name, (None, value)) for name, value in fields.items()), *uploads]  # a form, also without any file
    reply = httpx.post(f"{fake_server.url}/v1/images/{path}", files=parts)
    assert "x-request-id" in reply.headers
    return reply.status_code, reply.json()["error"]["param"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"n": "0"}, "n"),
        ({"n": "many"}, "n"),
        ({"size": "64"}, "size"),
        ({"width": "64"}, "height"),
        ({"strength": "0"}, "strength"),
        ({"strength": "nan"}, "strength"),
        ({"strength": "0.5", "input_fidelity": "low"}, "input_fidelity"),
        ({"input_fidelity": "total"}, "input_fidelity"),
        ({"background": "transparent"}, "background"),
        ({"partial_images": "2"}, "partial_images"),
        ({"stream": "perhaps"}, "stream"),
        ({"lora": "{"}, "lora"),
        ({"lora": "[" * 9000}, "lora"),
        ({"lora[name]": "x", "lora[scale]": "99"}, "lora.scale"),
        ({"refiner[steps]": "3"}, "refiner"),
        ({"markup": "x"}, "markup"),
        ({"image": "https://example.com/a.png"}, "image"),
        ({"image": "file:///etc/passwd"}, "image"),
        ({"mask": "data:image/png;base64,!!!"}, "mask"),
        ({"quality": "low", "num_inference_steps": "3"}, "quality"),
    ],
)
def test_promise_28_a_wrong_field_of_a_form_is_named(fake_server: Running, change: dict, param: str) -> None:
    fields = {"model": "fake-image", "prompt": "x", **change}
    files = {} if "image" in change else {"image": ("a.png", PNG)}
    assert refusal(fake_server, "edits", fields, files) == (400, param)


@pytest.mark.parametrize(
    ("files", "param"),
    [
        ([], "image"),
        ([("image", PNG), ("image", PNG)], "image"),
        ([("image[]", PNG), ("image", PNG)], "image"),
        ([("image", PNG), ("mask", MASK), ("mask", MASK)], "mask"),
        ([("image", PNG), ("mask", png(41, 30, 0))], "mask"),
        ([("image", b"")], "image"),
        ([("image", b"RIFF\0\0\0\0WEBP")], "image"),
        ([("image", PNG[:30])], "image"),
        ([("image", b"<svg onload=x()>")], "image"),
    ],
)
def test_promise_18_wrong_uploads_are_named(fake_server: Running, files: list, param: str) -> None:
    sent = [(name, ("../../x.png", data, "image/png")) for name, data in files]
    assert refusal(fake_server, "edits", {"model": "fake-image", "prompt": "x"}, sent) == (400, param)


def test_promise_18_a_bomb_of_pixels_is_refused_before_it_is_decoded(fake_server: Running) -> None:
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (50_000).to_bytes(4, "big") * 2 + b"\x08\2\0\0\0" + b"\0" * 9
    assert refusal(fake_server, "variations", {"model": "fake-image"}, {"image": ("a.png", bomb)}) == (400, "image")


def test_variations_take_no_mask_and_no_stream(fake_server: Running) -> None:
    files = [("image", ("a.png", PNG)), ("mask", ("m.png", MASK))]
    assert refusal(fake_server, "variations", {"model": "fake-image"}, files) == (400, "mask")
    stream = {"model": "fake-image", "stream": "true"}
    assert refusal(fake_server, "variations", stream, files[:1]) == (400, "stream")


def test_a_form_that_is_none_and_a_model_of_another_kind(fake_server: Running) -> None:
    url = f"{fake_server.url}/v1/images/edits"
    assert httpx.post(url, content=b"x", headers={"content-type": "text/plain"}).status_code == 415
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert httpx.post(url, content=b"--x\r\nContent-Disposition: form-data", headers=broken).status_code == 400
    for model, status in (("fake-text", 400), ("nobody", 404), ("x" * 300, 400)):
        reply = httpx.post(url, data={"model": model, "prompt": "x"}, files={"image": ("a.png", PNG)})
        assert (reply.status_code, reply.json()["error"]["param"]) == (status, "model")
