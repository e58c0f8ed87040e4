"""What a video model lacks is a 400 that names the field, before there is a job; the models are config files alone."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from support.servers import Running, serving
from support.videos import clip

from adapters.fake.images import png

PICTURE = png(16, 16, (1, 2, 3))
URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
NO_PICTURE = "data:image/png;base64," + base64.b64encode(b"hello").decode()
UNSUPPORTED, MISSING = "unsupported_parameter", "missing_required_parameter"

MODELS: dict[str, dict[str, Any]] = {
    "wan": {"model_index.json": {"_class_name": "WanPipeline"}},
    "wan22": {
        "model_index.json": {"_class_name": "WanImageToVideoPipeline"},
        "transformer/config.json": {"image_dim": None},
    },
    "wanflf": {
        "model_index.json": {"_class_name": "WanImageToVideoPipeline"},
        "transformer/config.json": {"image_dim": 1280, "pos_embed_seq_len": 514},
    },
    "ltx2": {"model_index.json": {"_class_name": "LTX2Pipeline"}},
    "ltx": {"model_index.json": {"_class_name": "LTXPipeline"}},
    "broken": {"model_index.json": '{"_class_name": "Wan'},
    "wrong": {"model_index.json": {"_class_name": ["WanPipeline"]}},
    "huge": {"model_index.json": {"_class_name": "WanPipeline", "x": "a" * 2**21}},
    "empty": {},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("inputs")
    entries: dict[str, Any] = {
        "absent": {"kind": "video", "backend": "diffusers-video", "sources": ["hf://nobody/nothing"]}
    }
    for name, files in MODELS.items():
        for file, content in files.items():
            path = home / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        (home / name).mkdir(exist_ok=True)
        entries[name] = {"kind": "video", "backend": "diffusers-video", "sources": [str(home / name)]}
    catalog = {"models": entries, "profiles": {"mine": {"models": ["fake-video", *entries]}}}
    (home / "models.yaml").write_text(json.dumps(catalog))
    with serving(home / "run", profile="mine", MUYBRIDGE_CATALOG=str(home / "models.yaml")) as running:
        yield running


@pytest.fixture(scope="module")
def source(server: Running) -> str:
    """A finished video of another model's."""
    return finished(server, model="fake-video", num_frames=24, size="64x48", prompt="x")


def finished(server: Running, **body: Any) -> str:
    made = httpx.post(f"{server.url}/v1/videos", json=body).json()
    deadline = time.monotonic() + 60
    while httpx.get(f"{server.url}/v1/videos/{made['id']}").json()["status"] != "completed":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return made["id"]


def post(server: Running, path: str, files: dict[str, Any] | None = None, **body: Any) -> httpx.Response:
    body = {"prompt": "x", **body}
    if files is None:
        return httpx.post(f"{server.url}/v1/videos{path}", json=body, timeout=60)
    parts = {name: (None, str(value)) for name, value in body.items()} | files
    return httpx.post(f"{server.url}/v1/videos{path}", files=parts, timeout=60)


def refused(reply: httpx.Response) -> tuple[str | None, str | None]:
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    return error["param"], error["code"]


def count(server: Running) -> int:
    return len(httpx.get(f"{server.url}/v1/videos?limit=100").json()["data"])


def scenes(*keyframes: str | None) -> list[dict[str, Any]]:
    numbered = enumerate(keyframes, 1)
    return [{"scene_number": n, "description": "x", "duration_frames": 9, "keyframe": one} for n, one in numbered]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("", {"input_reference": URL}, "input_reference"),
        ("", {"input_reference": {"image_url": URL}}, "input_reference"),
        ("", {"image_reference": URL}, "image_reference"),
        ("", {"keyframes": [{"frame_index": 5, "image": URL}]}, "keyframes"),
        ("", {"keyframes": json.dumps([{"index": 5, "image": URL}])}, "keyframes"),
        ("", {"keyframes": [{"frame_index": 5, "image": URL}], "image_reference": URL}, "image_reference"),
        ("/transitions", {"start_image": URL, "end_image": URL}, "start_image"),
        ("/sequences", {"scenes": scenes(None, URL), "transition_frames": 0, "prompt": ...}, "scenes[1].keyframe"),
        ("/sequences", {"scenes": scenes(None, None), "prompt": ...}, "transition_frames"),
    ],
)
def test_promise_28_what_wan_lacks_is_refused_at_create(server: Running, path: str, body: dict, param: str) -> None:
    before = count(server)
    body = {name: value for name, value in {"prompt": "x", **body}.items() if value is not ...}
    reply = httpx.post(f"{server.url}/v1/videos{path}", json={"model": "wan", **body})
    assert refused(reply) == (param, UNSUPPORTED)
    assert count(server) == before  # no job was made of it


@pytest.mark.parametrize("model", ["fake-video", "ltx", "empty"])
@pytest.mark.parametrize(
    ("path", "body", "param", "code"),
    [
        ("", {"keyframes": [{"frame_index": 25, "image": URL}]}, "keyframes[0].frame_index", "invalid_value"),
        ("", {"keyframes": [{"frame_index": -26, "image": URL}]}, "keyframes[0].frame_index", "invalid_value"),
        (
            "",
            {"keyframes": json.dumps([{"index": 0, "image": URL}, {"index": 500, "image": URL}])},
            "keyframes[1].frame_index",
            "invalid_value",
        ),
        (
            "",
            {"keyframes": [{"frame_index": at, "image": URL} for at in (24, -1)]},
            "keyframes[1].frame_index",
            "invalid_value",
        ),
        (
            "",
            {"input_reference": URL, "keyframes": [{"frame_index": -25, "image": URL}]},
            "keyframes[0].frame_index",
            "invalid_value",
        ),
        ("", {"input_reference": NO_PICTURE}, "input_reference", "invalid_media"),
        ("", {"image_reference": {"image_url": NO_PICTURE}}, "image_reference", "invalid_media"),
        ("", {"keyframes": [{"frame_index": 3, "image": NO_PICTURE}]}, "keyframes", "invalid_media"),
        ("/transitions", {"start_image": URL, "end_image": NO_PICTURE}, "end_image", "invalid_media"),
        ("/sequences", {"scenes": scenes(None, NO_PICTURE), "prompt": ...}, "scenes[1].keyframe", "invalid_media"),
    ],
)
def test_promise_28_what_no_model_can_show_is_refused_at_create(
    server: Running, model: str, path: str, body: dict, param: str, code: str | None
) -> None:
    before = count(server)
    length = {} if path == "/sequences" else {"num_frames": 25}
    body = {name: value for name, value in {"prompt": "x", **length, **body}.items() if value is not ...}
    reply = httpx.post(f"{server.url}/v1/videos{path}", json={"model": model, **body})
    assert refused(reply) == (param, code)
    assert count(server) == before


def test_a_file_that_is_no_picture_is_refused_at_create(server: Running) -> None:
    reply = post(server, "", {"input_reference": ("a.png", b"hello")}, model="fake-video")
    assert refused(reply) == ("input_reference", "invalid_media")


def test_pictures_and_videos_that_come_as_files_are_refused_alike(server: Running) -> None:
    picture, film = ("a.png", PICTURE), ("a.mp4", clip(12))
    asked = [
        ("", {"input_reference": picture}, {}, "input_reference"),
        ("/transitions", {"start_image": picture, "end_image": picture}, {}, "start_image"),
        ("/edits", {"video": film}, {}, "video"),
        ("/extensions", {"video": film}, {"seconds": 1}, "video"),
        ("/edits", {"video": film}, {"model": "ltx2"}, "video"),
    ]
    for path, files, fields, param in asked:
        assert refused(post(server, path, files, **{"model": "wan", **fields})) == (param, UNSUPPORTED), path
    with (
        server.sdk(strict=False) as client,
        pytest.raises(openai.BadRequestError) as error,
    ):
        client.videos.create(model="wan", prompt="x", input_reference=picture)
    assert (error.value.param, error.value.code) == ("input_reference", UNSUPPORTED)


def test_a_model_that_films_from_pictures_says_what_it_needs(server: Running, source: str) -> None:
    sequence = {"prompt": ..., "scenes": scenes(URL, URL)}
    asked: list[tuple[str, dict[str, Any], str, str]] = [
        ("", {"model": "wan22"}, "input_reference", MISSING),
        ("", {"model": "wanflf", "input_reference": URL}, "keyframes", MISSING),
        ("/extensions", {"model": "wanflf", "video_id": source, "seconds": 1}, "video", UNSUPPORTED),
        ("/sequences", {**sequence, "model": "wan22"}, "transition_frames", UNSUPPORTED),
        ("/sequences", {**sequence, "model": "wan22", "scenes": scenes(URL, None)}, "scenes[1].keyframe", MISSING),
        ("/sequences", {**sequence, "model": "wanflf", "transition_frames": 0}, "scenes", UNSUPPORTED),
    ]
    for path, body, param, code in asked:
        body = {name: value for name, value in {"prompt": "x", **body}.items() if value is not ...}
        reply = httpx.post(f"{server.url}/v1/videos{path}", json=body, timeout=60)
        assert refused(reply) == (param, code), (path, body)
        assert "such as 25, or 0" in reply.text or param != "transition_frames"


def test_videos_that_are_named_are_refused_alike(server: Running, source: str) -> None:
    assert refused(post(server, "/edits", model="wan", video={"id": source})) == ("video", UNSUPPORTED)
    assert refused(post(server, "/extensions", model="wan", video_id=source, seconds=1)) == ("video", UNSUPPORTED)


@pytest.mark.slow
def test_what_a_model_can_do_is_accepted(server: Running, source: str) -> None:
    accepted = [
        post(server, "", model="wan"),
        httpx.post(
            f"{server.url}/v1/videos/sequences",
            json={"model": "wan", "scenes": scenes(None, None), "transition_frames": 0},
        ),
        post(server, "", model="ltx", input_reference=URL, keyframes=[{"frame_index": 5, "image": URL}]),
        post(server, "/transitions", model="ltx", start_image=URL, end_image=URL),
        post(server, "/edits", model="ltx", video_id=source),
        post(server, "/extensions", model="ltx2", video_id=source, seconds=1),
        post(server, "/extensions", model="ltx", video_id=source, seconds=1),
        post(server, "/transitions", model="wanflf", start_image=URL, end_image=URL),
        post(server, "/extensions", model="wan22", video_id=source, seconds=1),
        post(server, "/edits", model="fake-video", video_id=source),  # whose files say nothing
    ]
    for reply in accepted:
        assert reply.status_code == 200, reply.text
        httpx.delete(f"{server.url}/v1/videos/{reply.json()['id']}")


@pytest.mark.engine  # that load a pipeline
@pytest.mark.parametrize("model", ["broken", "wrong", "huge", "empty", "absent"])
def test_a_model_that_says_nothing_is_judged_once_it_is_loaded(server: Running, model: str) -> None:
    reply = post(server, "", model=model, input_reference=URL)
    assert reply.status_code == 200, reply.text
    url = f"{server.url}/v1/videos/{reply.json()['id']}"
    if model != "absent":  # a model hub is waited for
        deadline = time.monotonic() + 60
        while (video := httpx.get(url).json())["status"] != "failed":
            assert time.monotonic() < deadline, video
            time.sleep(0.1)
        assert video["error"]["code"] == "model_load_failed"
    httpx.delete(url)


@pytest.mark.engine
def test_a_remix_is_refused_by_a_model_that_has_changed(
    server: Running, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same name may be another checkpoint by then."""
    home = tmp_path_factory.mktemp("remix")
    (home / "model").mkdir()
    (home / "model" / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline"}))

    def run(backend: str) -> Any:
        entry = {"kind": "video", "backend": backend, "sources": [str(home / "model")]}
        catalog = {"models": {"m": entry}, "profiles": {"mine": {"models": ["m"]}}}
        (home / "models.yaml").write_text(json.dumps(catalog))
        return serving(home / "run", profile="mine", MUYBRIDGE_CATALOG=str(home / "models.yaml"))

    with run("fake-video") as running:
        plain = finished(running, model="m", prompt="x", num_frames=9, size="64x48")
        shown = finished(running, model="m", prompt="x", num_frames=9, size="64x48", input_reference=URL)
    with run("diffusers-video") as running:
        assert refused(post(running, f"/{shown}/remix")) == ("video_id", UNSUPPORTED)
        assert post(running, f"/{plain}/remix").status_code == 200
