"""Eyes behind the official client: the starter's own vision model, on pictures of the project's own renderer."""

import base64
import io
import random
import struct
import zlib
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
from PIL import Image
from support.servers import Running

from starter.captions import article
from starter.drawing import draw
from starter.questions import LabelledQuestion, choice, odd_set, predicate
from starter.training.images import random_scenes
from starter.world import ATTRIBUTES

MODEL = "starter-vision"


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def scene(seed: int) -> bytes:
    return encoded(draw(random_scenes(1, random.Random(seed))[0]))


def url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64," + base64.b64encode(data).decode()


def plain(width: int, height: int) -> Image.Image:
    return Image.new("L", (width, height), 7)


def bomb(width: int, height: int, chunk: bytes = b"") -> bytes:
    """A PNG of a few bytes that says to be large."""

    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = part(b"IDAT", zlib.compress(bytes(min(width * height * 3, 10**7)), 9))
    return b"\x89PNG\r\n\x1a\n" + head + chunk + pixels + part(b"IEND", b"")


def animation(form: str) -> bytes:
    return encoded(plain(8, 8), form, save_all=True, append_images=[Image.new("L", (8, 8), n) for n in range(9)])


HOSTILE = {
    "text": b"not a picture at all",
    "empty chunk list": b"\x89PNG\r\n\x1a\n",
    "cut": encoded(plain(64, 64))[:60],
    "huge": bomb(60_000, 60_000),
    "just too large": bomb(8001, 8000),
    "no width": bomb(0, 16),
    "too few pixels": bomb(4000, 4000),
    "animated PNG": animation("PNG"),
    "animated WebP": animation("WEBP"),
    "animated GIF": animation("GIF"),
    "TIFF": encoded(plain(8, 8), "TIFF"),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "JPEG without an end": encoded(plain(64, 64), "JPEG")[:200],
    "WebP that lies": b"RIFF\xff\xff\xff\x7fWEBPVP8 " + bytes(50),
    "playlist": b"#EXTM3U\nfile:///etc/passwd\n",
}
ODD_BUT_TRUE = {
    "still GIF": encoded(plain(8, 8), "GIF"),
    "BMP": encoded(plain(8, 8), "BMP"),
    "one pixel": encoded(plain(1, 1)),
    "a line": encoded(plain(20_000, 1)),
    "a column": encoded(plain(1, 20_000)),
    "wide": encoded(plain(16_000, 4000), "PNG"),
    "palette": encoded(plain(16, 16).convert("P")),
    "transparent": encoded(Image.new("LA", (16, 16), (1, 0))),
    "sixteen bits": encoded(Image.new("I;16", (16, 16), 300)),
    "ink": encoded(Image.new("CMYK", (16, 16)), "JPEG"),
}


def requests(image: str, good: str) -> list[tuple[str, dict[str, Any]]]:
    """Every way to show a picture to a model."""
    part = {"type": "image_url", "image_url": {"url": image}}
    shown = [{"role": "user", "content": [{"type": "input_image", "image_url": image}]}]
    ask = {"type": "predicate", "instructions": "Is there a fox?"}
    own = {"type": "predicate", "instructions": [{"type": "input_image", "image_url": image}]}
    return [
        ("chat/completions", {"messages": [{"role": "user", "content": [part]}], "max_completion_tokens": 2}),
        ("responses", {"input": shown, "max_output_tokens": 16}),
        ("decisions", {"input": shown, "questions": [ask]}),
        ("decisions", {"input": "A logo:", "questions": [ask, own]}),
        ("scenes/validations", {"image": image, "description": "a fox"}),
        ("scenes/consistency", {"images": [good, image, good], "aspects": ["subject"]}),
    ]


def healthy(server: Running) -> None:
    reply = httpx.post(
        f"{server.url}/v1/decisions",
        json={
            "model": MODEL,
            "input": [{"role": "user", "content": [{"type": "input_image", "image_url": url(scene(1))}]}],
            "questions": [{"type": "predicate", "instructions": "Is there a fox?"}],
        },
        timeout=300,
    )
    assert reply.status_code == 200, reply.text


def test_promise_18_hostile_pictures_are_refused_and_the_engine_goes_on(starter_server: Running) -> None:
    healthy(starter_server)
    good = url(scene(1))
    for name, data in HOSTILE.items():
        for route, body in requests(url(data), good):
            reply = httpx.post(f"{starter_server.url}/v1/{route}", json={"model": MODEL, **body}, timeout=300)
            assert reply.status_code == 400, (name, route, reply.text)
            error = reply.json()["error"]
            assert error["code"] == "invalid_media", (name, route, error)
            assert error["param"] in ("messages", "input", "image", "images", "images[1]"), (name, route, error)
    healthy(starter_server)
    assert starter_server.metric('muybridge_model_leases{model="starter-vision"}') == 0.0


def test_promise_18_odd_pictures_are_seen_or_refused_but_break_nothing(starter_server: Running) -> None:
    good = url(scene(1))
    for name, data in ODD_BUT_TRUE.items():
        for route, body in requests(url(data), good):
            reply = httpx.post(f"{starter_server.url}/v1/{route}", json={"model": MODEL, **body}, timeout=300)
            assert reply.status_code in (200, 400), (name, route, reply.text)
    healthy(starter_server)


def test_promise_18_and_20_too_many_and_too_large_are_refused(starter_server: Running) -> None:
    image = {"type": "image_url", "image_url": {"url": url(encoded(plain(8, 8)))}}
    body = {"model": MODEL, "messages": [{"role": "user", "content": [image] * 33}]}
    reply = httpx.post(f"{starter_server.url}/v1/chat/completions", json=body, timeout=300)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")
    image = {"type": "image_url", "image_url": {"url": url(bytes(34 * 2**20))}}
    body = {"model": MODEL, "messages": [{"role": "user", "content": [image]}]}
    assert httpx.post(f"{starter_server.url}/v1/chat/completions", json=body, timeout=300).status_code == 413
    healthy(starter_server)


def test_a_picture_is_the_same_however_it_comes(starter: openai.OpenAI) -> None:
    data = scene(2)
    file = starter.files.create(file=("scene.png", data), purpose="vision")
    text: Any = {"type": "text", "text": "Describe the image."}
    parts: list[Any] = [
        {"type": "image_url", "image_url": {"url": url(data)}},
        {"type": "file", "file": {"file_id": file.id}},
        {"type": "file", "file": {"file_data": url(data), "filename": "scene.png"}},
    ]
    said = [
        starter.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": [part, text]}],
            temperature=0,
            max_completion_tokens=8,
        )
        for part in parts
    ]
    assert len({one.choices[0].message.content for one in said}) == 1
    assert len({one.usage.prompt_tokens for one in said}) == 1
    shown: list[Any] = [{"type": "input_image", "file_id": file.id}, {"type": "input_image", "image_url": url(data)}]
    asked: Any = {"type": "input_text", "text": "Describe the image."}
    answered = [
        starter.responses.create(
            model=MODEL, input=[{"role": "user", "content": [one, asked]}], temperature=0, max_output_tokens=16
        )
        for one in shown
    ]
    assert answered[0].output_text == answered[1].output_text
    starter.files.delete(file.id)


def test_details_and_several_images_cost_their_tokens(starter: openai.OpenAI) -> None:
    large = url(encoded(Image.new("RGB", (1600, 1200), (200, 30, 30))))

    def tokens(*details: str) -> int:
        images: list[Any] = [{"type": "image_url", "image_url": {"url": large, "detail": one}} for one in details]
        reply = starter.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": images}], max_completion_tokens=1
        )
        return reply.usage.prompt_tokens

    assert tokens("low") <= tokens("high") == tokens("auto") == tokens("original")
    one, two, three = (tokens(*["low"] * count) for count in (1, 2, 3))
    assert three - two == two - one > 100


KINDS: list[Any] = [
    {"type": "predicate", "name": "fox", "instructions": "Is there a fox?"},
    {"type": "choice", "instructions": "What time of day is it?", "choices": [{"value": "day"}, {"value": "night"}]},
    {"type": "choice", "instructions": "Which?", "choices": [{"value": "a red fox"}, {"value": "a red boat"}]},
    {"type": "choice", "instructions": "Is it so?", "choices": [{"value": True}, {"value": "true"}]},
    {"type": "score", "instructions": "How many?", "levels": [{"label": str(n)} for n in range(1, 11)]},
    {"type": "score", "instructions": "How well?", "levels": [{"label": "it is not at all so"}, {"label": "it is so"}]},
]


def test_decisions_on_pictures_are_the_models_own(starter: openai.OpenAI) -> None:
    image: Any = {"type": "input_image", "image_url": url(scene(3))}
    shown: Any = [{"role": "user", "content": [image]}]
    together = starter.decisions.create(model=MODEL, input=shown, questions=KINDS)
    backwards = starter.decisions.create(model=MODEL, input=shown, questions=KINDS[::-1])
    assert together.usage.input_tokens_details.cached_tokens > 0
    for asked, one, other in zip(KINDS, together.answers, backwards.answers[::-1], strict=True):
        assert one.type in (asked["type"], "refusal")
        assert one.name == asked.get("name")
        if one.type in ("choice", "score"):
            found, again = ([p.probability for p in answer.probabilities] for answer in (one, other))
            assert sum(found) == pytest.approx(1)
            assert found == pytest.approx(again, abs=0.01)


def wire(asked: LabelledQuestion) -> dict[str, Any]:
    text = asked.text.rpartition("Question: ")[2]
    if asked.options == ("yes", "no"):
        return {"type": "predicate", "instructions": text}
    return {"type": "choice", "instructions": text, "choices": [{"value": option} for option in asked.options]}


def test_questions_about_scenes_that_it_never_saw_are_answered_right(starter: openai.OpenAI) -> None:
    rng, right = random.Random(7), list[bool]()
    for shown in random_scenes(20, rng, held=True):
        asked = [kind(shown, rng) for kind in (predicate, choice) for _ in range(4)]
        image: Any = {"type": "input_image", "image_url": url(encoded(draw(shown)))}
        decision = starter.decisions.create(
            model=MODEL,
            input=[{"role": "user", "content": [image]}],
            questions=[wire(one) for one in asked],  # pyright: ignore[reportArgumentType]
        )
        for one, answer in zip(asked, decision.answers, strict=True):
            said = answer.choice if answer.type == "choice" else "yes" if answer.probability >= 0.5 else "no"
            right.append(said == one.answer)
    assert sum(right) / len(right) > 0.9


def test_the_odd_keyframe_is_found_and_told(starter: openai.OpenAI) -> None:
    rng, found = random.Random(8), list[bool]()
    for shown in random_scenes(6, rng, held=True):
        group, odd = odd_set(shown, rng, 4)
        images = [url(encoded(draw(one))) for one in group]
        reply: dict[str, Any] = starter.post(
            "/scenes/consistency", body={"model": MODEL, "images": images}, cast_to=dict[str, Any]
        )
        assert reply["method"] == "descriptions"
        assert len(reply["pairs"]) == 6
        assert {aspect["name"] for aspect in reply["aspects"]} == set(ATTRIBUTES)
        assert [one["subject"] for one in reply["descriptions"]] == [article(one.subject) for one in group]
        found.append(not reply["is_consistent"] and reply["odd_image"] and reply["odd_image"]["index"] == odd)
    assert sum(found) >= 5
    for name in ("weather", "time"):  # All else is the same.
        other = next(value for value in ATTRIBUTES[name] if value != getattr(group[odd], name))
        three = [url(encoded(draw(replace(group[odd], **{name: other})))), *[url(encoded(draw(group[odd])))] * 2]
        reply = starter.post("/scenes/consistency", body={"model": MODEL, "images": three}, cast_to=dict[str, Any])
        assert reply["odd_image"]["index"] == 0
        assert [one["aspect"] for one in reply["inconsistencies"]] == [name]
    many: dict[str, Any] = starter.post(
        "/scenes/consistency",
        body={"model": MODEL, "images": images * 8, "aspects": ["subject"]},
        cast_to=dict[str, Any],
    )
    assert len(many["pairs"]) == 128
