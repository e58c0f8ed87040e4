"""The video backend on Wan's models that film from pictures: tiny ones of each generation, and through the server."""

import base64
import io
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from PIL import Image
from support import tiny_pipelines
from support.servers import serving
from support.videos import generated, pixels_of

from adapters.base import GeneratedVideo, Keyframe, Media, ModelFiles, VideoRequest
from adapters.errors import UnsupportedOption
from adapters.media.decode_image import encode_image
from adapters.video.diffusers_video import DiffusersVideo
from adapters.video.inputs import VideoInputs, inputs_of

REQUEST = VideoRequest("a red fox", num_frames=9, fps=12, width=64, height=48, num_inference_steps=2, seed=4)
RED, BLUE = (encode_image(Image.new("RGB", (100, 50), colour), "image/png") for colour in ("red", "blue"))
FIRST, LAST = Keyframe(RED), Keyframe(BLUE, -1)

KINDS = {
    "wan-2.1-i2v": VideoInputs("first", "first", strength=False, video=False),
    "wan-2.1-flf": VideoInputs("first_and_last", "first_and_last", strength=False, video=False),
    "wan-2.2-i2v": VideoInputs("first_and_last", "first", strength=False, video=False),
    "wan-5b": VideoInputs("first", strength=False, video=False),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wan")


@pytest.fixture(scope="module", params=KINDS)
async def model(request: pytest.FixtureRequest, home: Path) -> AsyncIterator[DiffusersVideo]:
    path = tiny_pipelines.build(request.param, home / request.param)
    adapter = await DiffusersVideo.load(ModelFiles(request.param, "diffusers-video", str(path)), lambda _: None)
    yield adapter
    await adapter.unload()


def least(model: DiffusersVideo) -> tuple[Keyframe, ...]:
    """The pictures that it must have, or one, where it needs none."""
    return (FIRST, LAST) if model._can.inputs.required == "first_and_last" else (FIRST,)


async def filmed(model: DiffusersVideo, *keyframes: Keyframe, **changes: Any) -> GeneratedVideo:
    return await generated(model, replace(REQUEST, keyframes=keyframes, **changes))


async def test_the_files_say_what_the_pipeline_can(model: DiffusersVideo, home: Path) -> None:
    name = next(kind for kind in KINDS if inputs_of("diffusers-video", home / kind) == model._can.inputs)
    assert KINDS[name] == model._can.inputs
    assert all(inputs_of("diffusers-video", path) == KINDS[path.name] for path in home.iterdir())


async def test_a_picture_becomes_a_film(model: DiffusersVideo) -> None:
    video = await filmed(model, *least(model), width=70, num_frames=8)
    assert (video.width, video.height, video.num_frames, video.soundtrack) == (64, 48, 9, None)
    assert pixels_of(video).shape == (9, 48, 64, 3)
    assert (await filmed(model, *least(model), width=70, num_frames=8)).video == video.video


async def test_its_pictures_seed_and_words_change_the_film(model: DiffusersVideo) -> None:
    first = await filmed(model, *least(model))
    for change in ({"seed": 5}, {"prompt": "a blue whale"}, {"negative_prompt": "dark"}):
        assert (await filmed(model, *least(model), **change)).video != first.video, change
    swapped = [replace(one, image=BLUE if one.image is RED else RED) for one in least(model)]
    assert (await filmed(model, *swapped)).video != first.video


async def test_a_last_picture_counts_where_the_model_takes_one(model: DiffusersVideo) -> None:
    if model._can.inputs.keyframes == "first":
        with pytest.raises(UnsupportedOption) as caught:
            await filmed(model, FIRST, LAST)
        assert caught.value.param == "keyframes"
        return
    blue, red = [await filmed(model, FIRST, replace(LAST, image=image)) for image in (BLUE, RED)]
    assert blue.video != red.video
    assert (await filmed(model, FIRST, Keyframe(BLUE, 8))).video == blue.video


async def test_words_alone_are_enough_for_the_one_that_films_both(model: DiffusersVideo) -> None:
    if model._can.inputs.required == "none":
        plain = await filmed(model)
        assert plain.video != (await filmed(model, FIRST)).video
        assert (await filmed(model)).video == plain.video  # as it was before the picture
        return
    with pytest.raises(UnsupportedOption) as caught:
        await filmed(model)
    assert caught.value.param == "keyframes"


@pytest.mark.parametrize(
    ("keyframes", "source", "param"),
    [
        ((FIRST, Keyframe(BLUE, 4)), None, "keyframes"),
        ((FIRST, FIRST), None, "keyframes"),
        ((replace(FIRST, strength=0.5), LAST), None, "keyframes"),
        ((LAST,), None, "keyframes"),
        ((FIRST,), Media("video/mp4", path="/nowhere.mp4"), "video"),
    ],
)
async def test_promise_28_other_pictures_and_videos_are_refused(
    model: DiffusersVideo, keyframes: tuple[Keyframe, ...], source: Media | None, param: str
) -> None:
    with pytest.raises(UnsupportedOption) as caught:
        await filmed(model, *keyframes, source=source)
    assert caught.value.param == param


def test_wan_films_from_pictures_through_the_server(home: Path, tmp_path: Path) -> None:
    entries: dict[str, Any] = {}
    for kind in ("wan-2.1-i2v", "wan-2.2-i2v"):
        path = tiny_pipelines.build(kind, home / kind)
        entries[kind] = {"kind": "video", "backend": "diffusers-video", "sources": [str(path)]}
        entries[kind]["defaults"] = {"width": 64, "height": 48, "num_frames": 9, "fps": 12, "num_inference_steps": 2}
    catalog = {"models": entries, "profiles": {"mine": {"models": [*entries]}}}
    (tmp_path / "models.yaml").write_text(json.dumps(catalog))
    red, blue = ("data:image/png;base64," + base64.b64encode(one.data).decode() for one in (RED, BLUE))
    with serving(tmp_path / "run", profile="mine", MUYBRIDGE_CATALOG=str(tmp_path / "models.yaml")) as running:

        def post(path: str, **body: Any) -> httpx.Response:
            body = body if "scenes" in body else {"prompt": "a fox", **body}
            return httpx.post(f"{running.url}/v1/videos{path}", json=body, timeout=60)

        def film(path: str, **body: Any) -> tuple[str, int]:
            made = post(path, **body)
            assert made.status_code == 200, made.text
            url = f"{running.url}/v1/videos/{made.json()['id']}"
            deadline = time.monotonic() + 240
            while (video := httpx.get(url).json())["status"] != "completed":
                assert video["status"] != "failed", video
                assert time.monotonic() < deadline, video
                time.sleep(0.1)
            with av.open(io.BytesIO(httpx.get(url + "/content").content)) as container:
                return made.json()["id"], len(list(container.decode(video=0)))

        def refused(path: str, **body: Any) -> tuple[str, str]:
            reply = post(path, **body)
            assert reply.status_code == 400, reply.text
            return reply.json()["error"]["param"], reply.json()["error"]["code"]

        one, two = "wan-2.1-i2v", "wan-2.2-i2v"
        first, length = film("", model=one, input_reference=red)
        assert length == 9
        assert film("/extensions", model=one, video_id=first, num_frames=6)[1] == 15
        assert film("/transitions", model=two, start_image=red, end_image=blue)[1] == 9
        scenes = [{"scene_number": n, "description": "x", "keyframe": red, "duration_frames": 9} for n in (1, 2)]
        assert film("/sequences", model=two, scenes=scenes, transition_frames=9)[1] == 27

        unsupported, missing = "unsupported_parameter", "missing_required_parameter"
        assert refused("", model=one) == ("input_reference", missing)
        last = [{"frame_index": 8, "image": blue}]
        assert refused("", model=one, input_reference=red, keyframes=last) == ("keyframes", unsupported)
        middle = [{"frame_index": 4, "image": blue}]
        assert refused("", model=two, input_reference=red, keyframes=middle) == ("keyframes", unsupported)
        weak = [{"frame_index": 0, "image": blue, "strength": 0.5}]
        assert refused("", model=two, keyframes=weak) == ("keyframes", unsupported)
        assert refused("/transitions", model=one, start_image=red, end_image=blue) == ("end_image", unsupported)
        assert refused("/edits", model=one, video_id=first) == ("video", unsupported)
