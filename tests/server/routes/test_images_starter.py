"""The image routes on real pipelines, through the official SDK: the starter's SDXL with a refiner and LoRAs, and others."""

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image
from support import tiny_pipelines
from support.servers import Running, serving

# The SDK says so of variations, which OpenAI itself no longer has.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

PROMPT = "a red fox in the forest at night"
KINDS = ("sd15", "sd3", "flux", "flux-schnell", "qwen", "z-image")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Real image models of seven classes, and the starter's with a refiner and two LoRAs."""
    tmp = tmp_path_factory.mktemp("images")
    models: dict[str, Any] = {
        kind: {
            "kind": "image",
            "backend": "diffusers-image",
            "sources": [str(tiny_pipelines.build(kind, tmp / kind))],
            "defaults": {"width": 64, "height": 64, "num_inference_steps": 4},
            "idle_ttl_s": 120,
        }
        for kind in KINDS
    }
    tiny_pipelines.build("refiner", tmp / "refiner")
    models["refiner"] = {"kind": "image", "backend": "diffusers-image", "sources": ["refiner"]}
    models["sdxl"] = {
        "kind": "image",
        "backend": "diffusers-image",
        "sources": [str(tiny_pipelines.STARTER / "image")],
        "defaults": {"width": 128, "height": 128, "num_inference_steps": 8, "guidance_scale": 3.0},
        "refiner": "refiner",
        "loras": {
            name: str(tiny_pipelines.starter_lora(tmp / "loras" / f"{name}.safetensors", seed=seed, strength=0.5))
            for seed, name in enumerate(("crayon", "ink"))
        },
        "options": {"max_steps": 200},
    }
    served = {"mine": {"models": ["sdxl", *KINDS]}}
    (tmp / "models.yaml").write_text(json.dumps({"models": models, "profiles": served}))
    with serving(tmp / "run", profile="mine", MUYBRIDGE_CATALOG=str(tmp / "models.yaml")) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(server: Running) -> Iterator[openai.OpenAI]:
    with server.sdk(timeout=600) as client:
        yield client


def pixels(b64: str | None) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(b64 or ""))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def drawn(sdk: openai.OpenAI, model: str = "sdxl", **more: Any) -> list[str]:
    extra = {"seed": 5, **more.pop("extra_body", {})}
    reply = sdk.images.generate(model=model, prompt=more.pop("prompt", PROMPT), extra_body=extra, **more)
    return [image.b64_json or "" for image in reply.data or ()]


def refused(sdk: openai.OpenAI, model: str, **more: Any) -> tuple[int, str | None]:
    with pytest.raises(openai.APIStatusError) as caught:
        drawn(sdk, model, **more)
    return caught.value.status_code, caught.value.body["param"]  # type: ignore[index]


def png(size: tuple[int, int], colour: Any = (200, 30, 40), *, hole: tuple[int, int, int, int] | None = None) -> bytes:
    image = Image.new("RGBA", size, colour)
    if hole:
        image.paste((0, 0, 0, 0), hole)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_draws_what_its_seed_says_alone_or_among_others(sdk: openai.OpenAI, kind: str) -> None:
    three = drawn(sdk, kind, n=3)
    assert drawn(sdk, kind, extra_body={"seed": 6}) == [three[1]]
    assert pixels(three[0]).shape == (64, 64, 3)
    assert pixels(three[0]).std() > 3, "a picture, and not one grey"
    assert len(set(three)) == 3
    assert drawn(sdk, kind, prompt="a blue whale in the desert") != three[:1], "the prompt counts"


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_streams_edits_and_varies(sdk: openai.OpenAI, kind: str) -> None:
    source, mask = png((64, 64)), png((64, 64), "black", hole=(0, 0, 64, 32))
    events = list(
        sdk.images.edit(
            model=kind, image=("a.png", source), mask=("m.png", mask), prompt=PROMPT, stream=True, partial_images=1,
            extra_body={"seed": 1, "num_inference_steps": 8},
        )
    )  # fmt: skip
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]
    made = pixels(events[-1].b64_json)
    assert (made[32:] == (200, 30, 40)).all(), "beside the mask all pixels are those of the picture"
    assert not (made[:32] == (200, 30, 40)).all()
    reply = sdk.images.create_variation(model=kind, image=("a.png", source), n=2, extra_body={"seed": 2})
    first, second = (pixels(image.b64_json) for image in reply.data or ())
    assert (first != second).any()


@pytest.mark.parametrize(
    ("kind", "change", "param"),
    [
        ("flux", {"negative_prompt": "dark"}, "negative_prompt"),
        ("flux-schnell", {"true_cfg_scale": 2}, "true_cfg_scale"),
        ("qwen", {"true_cfg_scale": 2}, "true_cfg_scale"),
        ("sd15", {"refiner": {}}, "refiner"),
        ("sd3", {"scheduler": "ddim"}, "scheduler"),
        ("z-image", {"lora": {"name": "ink"}}, "lora"),
        ("sdxl", {"lora": {"name": "oil"}}, "lora"),
        ("sdxl", {"scheduler": "heun"}, "scheduler"),
        ("flux", {"size": "72x64"}, "size"),
        ("sd15", {"prompt": "fox " * 80}, "prompt"),
        ("qwen", {"prompt": "fox " * 600}, "prompt"),
    ],
)
def test_promise_28_what_a_class_lacks_is_named(sdk: openai.OpenAI, kind: str, change: dict, param: str) -> None:
    top = {name: change[name] for name in ("size", "prompt") if name in change}
    rest = {name: value for name, value in change.items() if name not in top}
    assert refused(sdk, kind, extra_body=rest, **top) == (400, param)


def test_negative_prompts_go_by_each_class_own_guidance(sdk: openai.OpenAI) -> None:
    plain, away = drawn(sdk, "flux"), {"negative_prompt": "fox", "true_cfg_scale": 4}
    assert drawn(sdk, "flux", extra_body=away) != plain
    for kind in ("qwen", "sd3", "z-image", "sd15"):
        away = {"negative_prompt": "fox", "guidance_scale": 4}
        assert drawn(sdk, kind, extra_body=away) != drawn(sdk, kind, extra_body={"guidance_scale": 4}), kind


def test_schedulers_by_name_and_qualities_as_steps(sdk: openai.OpenAI) -> None:
    own = drawn(sdk)
    assert drawn(sdk, extra_body={"scheduler": "euler"}) == own, "the starter's own"
    assert drawn(sdk, extra_body={"scheduler": "dpmpp_2m"}) != own
    assert drawn(sdk, quality="medium") == drawn(sdk, quality="standard") == own
    assert drawn(sdk, quality="low") == drawn(sdk, extra_body={"num_inference_steps": 4})
    assert drawn(sdk, quality="high") == drawn(sdk, extra_body={"num_inference_steps": 12})


def test_formats_and_their_compression(sdk: openai.OpenAI) -> None:
    for name in ("jpeg", "webp"):
        sizes = [
            len(drawn(sdk, output_format=name, **({} if quality is None else {"output_compression": quality}))[0])
            for quality in (5, 60, None)
        ]
        assert sizes == sorted(set(sizes)), name


def test_previews_become_the_picture(sdk: openai.OpenAI) -> None:
    extra = {"seed": 5, "num_inference_steps": 12}
    stream = sdk.images.generate(model="sdxl", prompt=PROMPT, n=2, stream=True, partial_images=3, extra_body=extra)
    events = list(stream)
    assert [event.type for event in events].count("image_generation.partial_image") == 6
    whole = drawn(sdk, n=2, extra_body=extra)
    for index in range(2):
        of_one = [event for event in events if event.model_extra["image_index"] == index]  # type: ignore[index]
        assert [getattr(event, "partial_image_index", None) for event in of_one] == [0, 1, 2, None]
        assert of_one[-1].b64_json == whole[index]
        far = [abs(pixels(event.b64_json) - pixels(whole[index])).mean() for event in of_one]
        assert far == sorted(far, reverse=True), "each is nearer to the end than the one before"
        assert 0 < far[0] < 60


def test_the_refiner_takes_the_latents_over(sdk: openai.OpenAI) -> None:
    base = drawn(sdk, extra_body={"num_inference_steps": 6})
    refined = drawn(sdk, n=2, extra_body={"num_inference_steps": 4, "refiner": {"steps": 2}})
    assert refined[0] not in base
    assert drawn(sdk, extra_body={"num_inference_steps": 4, "refiner": {"steps": 2}, "seed": 6}) == refined[1:]
    assert drawn(sdk, extra_body={"num_inference_steps": 6}) == base, "and leaves the base as it was"
    # Untrained, it only adds noise: nearer to the base the fewer steps it has.
    far = [
        abs(pixels(drawn(sdk, extra_body={"num_inference_steps": 20 - s, "refiner": {"steps": s}})[0])
            - pixels(drawn(sdk, extra_body={"num_inference_steps": 20})[0])).mean()
        for s in (1, 10)
    ]  # fmt: skip
    assert far[0] < far[1]


def test_loras_by_name_and_scale_and_never_longer_than_asked(sdk: openai.OpenAI, server: Running) -> None:
    plain = drawn(sdk)

    def under(*loras: tuple[str, float], **more: Any) -> str:
        chosen = [{"name": name, "scale": scale} for name, scale in loras]
        return drawn(sdk, extra_body={"lora": chosen[0] if len(chosen) == 1 else chosen, **more})[0]

    pictures = {
        "crayon": under(("crayon", 1)),
        "ink": under(("ink", 1)),
        "both": under(("crayon", 1), ("ink", 1)),
        "more": under(("crayon", 2)),
    }
    assert len({*pictures.values(), *plain}) == 5
    assert under(("crayon", 0)) == plain[0]
    assert under(("ink", 1), ("crayon", 1)) == pictures["both"] or under(("ink", 1), ("crayon", 1)) != plain[0]
    assert drawn(sdk) == plain
    assert refused(sdk, "sdxl", extra_body={"lora": [{"name": "ink"}, {"name": "ink"}]}) == (400, "lora")
    # Requests with and without, all at once: each has what it asked for.
    results: dict[str, str] = {}

    def ask(name: str, *loras: tuple[str, float]) -> None:
        results[name] = under(*loras) if loras else drawn(sdk)[0]

    asked = {"crayon": [("crayon", 1)], "ink": [("ink", 1)], "both": [("crayon", 1), ("ink", 1)], "": []}
    threads = [threading.Thread(target=ask, args=(name, *loras)) for name, loras in asked.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {name: pictures.get(name, plain[0]) for name in asked}
    # One that is broken off under a LoRA leaves none behind.
    body = {"model": "sdxl", "prompt": PROMPT, "num_inference_steps": 200, "lora": {"name": "ink"}, "seed": 5}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/images/generations", json=body, timeout=1)
    assert drawn(sdk) == plain


def test_a_cancelled_picture_frees_the_model_within_a_step(sdk: openai.OpenAI) -> None:
    begun = time.monotonic()
    drawn(sdk, extra_body={"num_inference_steps": 100})
    whole_s = time.monotonic() - begun
    stream = sdk.images.generate(
        model="sdxl", prompt=PROMPT, stream=True, partial_images=3, extra_body={"seed": 5, "num_inference_steps": 100}
    )
    next(iter(stream))  # a quarter is done
    stream.close()
    begun = time.monotonic()
    drawn(sdk, extra_body={"num_inference_steps": 1})
    assert time.monotonic() - begun < 0.5 * whole_s, "nobody waits for the other three quarters"


def test_single_requests_share_batches_and_give_what_they_give_alone(sdk: openai.OpenAI) -> None:
    prompts = [f"a {colour} {animal} on the beach" for colour in ("red", "blue") for animal in ("fox", "bird", "cat")]
    alone = [drawn(sdk, prompt=prompt)[0] for prompt in prompts]
    together = [""] * len(prompts)

    def ask(at: int) -> None:
        together[at] = drawn(sdk, prompt=prompts[at])[0]

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    assert len(set(alone)) == len(prompts)


def test_the_starter_has_a_refiner_and_a_lora_of_its_own(starter: openai.OpenAI) -> None:
    pictures = [
        drawn(starter, "gpt-image-1", extra_body=extra)[0]
        for extra in (
            {"num_inference_steps": 12},
            {"num_inference_steps": 8, "refiner": {"steps": 4}},
            {"num_inference_steps": 12, "lora": {"name": "old-print"}},
            {"num_inference_steps": 12},
        )
    ]
    assert pictures[0] == pictures[3]
    assert len(set(pictures)) == 3
    refined, plain = pixels(pictures[1]), pixels(pictures[0])
    assert abs(refined - plain).mean() < 40, "the same picture, only sharper"


@pytest.mark.parametrize(
    ("image", "mask", "param"),
    [
        (b"GIF89a" + b"\0" * 50, None, "image"),
        (b"", None, "image"),
        (png((128, 128))[:-40], None, "image"),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\2\0\0\0" + b"\0" * 9,
            None,
            "image",
        ),
        (png((128, 128)), png((64, 128), hole=(0, 0, 9, 9)), "mask"),
        (png((128, 128)), png((128, 128)), "mask"),
        (png((128, 128)), b"no picture", "mask"),
    ],
)
def test_promise_18_pictures_that_are_none_are_refused_by_name(
    sdk: openai.OpenAI, image: bytes, mask: bytes | None, param: str
) -> None:
    more: dict[str, Any] = {} if mask is None else {"mask": ("m.png", mask)}
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.images.edit(model="sdxl", image=("i.png", image), prompt=PROMPT, **more)
    assert caught.value.param == param
    assert drawn(sdk, extra_body={"num_inference_steps": 1})


def test_edits_keep_the_pictures_size_where_none_is_asked_for(sdk: openai.OpenAI) -> None:
    reply = sdk.images.edit(model="sdxl", image=("i.png", png((190, 101))), prompt=PROMPT)
    assert reply.size == "192x104"
    assert sdk.images.edit(model="sdxl", image=png((90, 90)), prompt=PROMPT, size="128x64").size == "128x64"


def test_the_estimate_counts_the_refiner_once_and_the_loras(tmp_path: Path) -> None:
    from adapters.catalog.catalog import ModelEntry
    from adapters.pool.components import components_bytes

    base = tiny_pipelines.STARTER / "image"
    refiner = tiny_pipelines.build("refiner", tmp_path / "refiner")
    lora = tiny_pipelines.starter_lora(tmp_path / "l.safetensors", seed=1)
    entry = ModelEntry.model_validate(
        {"kind": "image", "backend": "diffusers-image", "refiner": "x", "options": {"device": "cpu"}}
    )
    unet = (refiner / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size
    apart = components_bytes(entry, base, {"refiner": str(refiner)})
    assert apart > unet, "saved by diffusers in another precision, its other parts are not the base's"
    for part in ("vae", "text_encoder_2"):
        for file in (refiner / part).iterdir():
            file.unlink()
        for file in (base / part).iterdir():
            (refiner / part / file.name).write_bytes(file.read_bytes())
    shared = components_bytes(entry, base, {"refiner": str(refiner)})
    assert shared == pytest.approx(unet, rel=0.05)
    assert components_bytes(entry, base, {"refiner": str(refiner), "lora:l": str(lora)}) == shared + lora.stat().st_size
