"""The wire of scene validations, and of data URLs."""

import base64
import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from adapters.base import Element, Media, SceneValidation, Usage
from compat import scenes
from compat.errors import RequestError
from compat.media import parse_data_url
from compat.wire import flatten

URL = "data:image/png;base64," + base64.b64encode(b"pixels").decode()
BODY: dict[str, Any] = {"model": "m", "image": URL, "description": "fog"}


@pytest.mark.parametrize("image", [URL, {"image_url": URL}, {"image_url": {"url": URL, "detail": "low"}}], ids=str)
def test_an_image_may_come_in_several_ways(image: Any):
    call = scenes.parse({**BODY, "image": image, "threshold": 0.25})
    assert call == scenes.SceneCall("m", Media("image/png", b"pixels"), "fog", 0.25)


def test_a_form_says_the_same():
    file = Media("image/jpeg", path="/somewhere")
    fields = flatten({"model": ["m"], "description": ["fog"], "threshold": ["0.7"]})
    assert scenes.parse(fields, file) == scenes.SceneCall("m", file, "fog", 0.7)
    fields = flatten({"model": ["m"], "description": ["fog"], "image[image_url]": [URL]})
    assert scenes.parse(fields).image == Media("image/png", b"pixels")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"image": None}, "image"),
        ({"image": ""}, "image"),
        ({"image": 7}, "image"),
        ({"image": {"image_url": {"no": "url"}}}, "image.image_url"),
        ({"image": {"image_url": "ftp://example.com/a.png"}}, "image.image_url"),
        ({"description": ""}, "description"),
        ({"description": "x" * (scenes.MAX_DESCRIPTION + 1)}, "description"),
        ({"threshold": 1.01}, "threshold"),
        ({"threshold": -0.01}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"model": ""}, "model"),
        ({"extra": 1}, "extra"),
    ],
    ids=str,
)
def test_promise_28_what_is_wrong_is_refused_with_the_name_of_the_field(changes: dict[str, Any], param: str):
    with pytest.raises(RequestError) as caught:
        scenes.parse({**BODY, **changes})
    assert caught.value.status == 400
    assert (caught.value.param or "").startswith(param)


def test_one_image_only():
    with pytest.raises(RequestError, match="exactly once"):
        scenes.parse(BODY, Media("image/png", b"x"))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.png",
        "https://example.com/a.png",
        "HTTP://169.254.169.254/latest",
        "file:///etc/passwd",
        "//example.com/a.png",
        "ftp://example.com/a.png",
        "",
    ],
)
def test_promise_22_no_url_is_ever_followed(url: str):
    with pytest.raises(RequestError, match="does not fetch URLs") as caught:
        parse_data_url(url, param="image")
    assert (caught.value.status, caught.value.param) == (400, "image")


@pytest.mark.parametrize(
    "url",
    [
        "data:text/html;base64,AAAA",
        "data:image/png,AAAA",
        "data:image/png;base64;AAAA",
        "data:image/png;base64,AAA=AAAA",
        "data:image/png;base64,é",
        "data:image/png;base64,",
        "data:image/" + "x" * 600 + ";base64,AAAA",
    ],
)
def test_broken_data_urls_are_refused(url: str):
    with pytest.raises(RequestError) as caught:
        parse_data_url(url, param="image")
    assert (caught.value.status, caught.value.param) == (400, "image")


def test_promise_18_large_images_are_refused_before_decoding():
    exact = "data:image/png;base64," + base64.b64encode(b"x" * 100).decode()
    assert len(parse_data_url(exact, param="image", max_bytes=100).data) == 100
    with pytest.raises(RequestError) as caught:
        parse_data_url(exact, param="image", max_bytes=96)
    assert caught.value.status == 413


@given(st.binary(min_size=1), st.sampled_from(["image/png", "image/jpeg", "IMAGE/WebP", "image/svg+xml"]))
def test_data_urls_come_back_whole(data: bytes, media_type: str):
    url = f"DATA:{media_type};base64,{base64.b64encode(data).decode()}"
    assert parse_data_url(url, param="image") == Media(media_type.lower(), data)


@given(st.text())
def test_promise_7_any_text_is_a_data_url_or_refused(text: str):
    for url in (text, "data:" + text, "data:image/png;base64," + text):
        with contextlib.suppress(RequestError):
            assert parse_data_url(url, param="image").data


def test_the_reply():
    validation = SceneValidation(
        True, 0.5, "It matches.", (Element("fog", 0.75),), (Element("rain", 0.25),), Usage(10, 3, 4), 12.3456
    )
    reply = msgspec.to_builtins(scenes.render(validation, "m"))
    assert reply.pop("id").startswith("scene_")
    assert reply.pop("created") > 1.7e9
    assert reply == snapshot(
        {
            "object": "scene.validation",
            "model": "m",
            "is_valid": True,
            "match_score": 0.5,
            "explanation": "It matches.",
            "matched_elements": [{"text": "fog", "probability": 0.75}],
            "mismatched_elements": [{"text": "rain", "probability": 0.25}],
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 3,
                "total_tokens": 13,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            "timings": {"generation_ms": 12.346, "tokens_per_second": None},
        }
    )
