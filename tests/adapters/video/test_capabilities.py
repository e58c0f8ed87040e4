"""The video backend on a class other than LTX-Video: a tiny Wan, through the adapter and through the real server."""

import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import av
import pytest
from PIL import Image
from support import tiny_pipelines
from support.servers import serving
from support.videos import generated

from adapters.base import GeneratedVideo, Keyframe, Media, ModelFiles, Step, VideoRequest
from adapters.errors import ModelLoadFailed, UnsupportedOption
from adapters.video.diffusers_video import DiffusersVideo

REQUEST = VideoRequest("a red fox", num_frames=9, fps=12, width=64, height=48, num_inference_steps=3, seed=4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.build("wan", tmp_path_factory.mktemp("wan") / "wan")


@pytest.fixture(scope="module")
async def model(checkpoint: Path) -> AsyncIterator[DiffusersVideo]:
    adapter = await DiffusersVideo.load(ModelFiles("wan", "diffusers-video", str(checkpoint)), lambda _: None)
    yield adapter
    await adapter.unload()


def png() -> Media:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(out, "PNG")
    return Media("image/png", out.getvalue())


async def test_wan_films_lengths_and_sizes_of_its_own(model: DiffusersVideo) -> None:
    events = [event async for event in model.generate(replace(REQUEST, num_frames=8, width=70))]
    assert events[:3] == [Step(1, 3), Step(2, 3), Step(3, 3)]
    made = events[-1]
    assert isinstance(made, GeneratedVideo)
    assert (made.num_frames, made.width, made.height, made.fps) == (9, 64, 48, 12)
    with av.open(io.BytesIO(made.video.data)) as film:
        assert len(list(film.decode(video=0))) == 9


async def test_wan_films_the_same_for_a_seed_and_heeds_both_prompts(model: DiffusersVideo) -> None:
    first = await generated(model, REQUEST)
    assert (await generated(model, REQUEST)).video == first.video
    for change in ({"seed": 5}, {"prompt": "a blue whale"}, {"negative_prompt": "dark"}, {"guidance_scale": 2.0}):
        assert (await generated(model, replace(REQUEST, **change))).video != first.video, change


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"keyframes": (Keyframe(png()),)}, "keyframes"),
        ({"source": Media("video/mp4", path="/nowhere.mp4")}, "video"),
        ({"prompt": "fox " * 600}, "prompt"),
    ],
)
async def test_promise_28_what_wan_lacks_is_named(model: DiffusersVideo, change: dict, param: str) -> None:
    with pytest.raises(UnsupportedOption) as caught:
        await generated(model, replace(REQUEST, **change))
    assert caught.value.param == param


@pytest.mark.parametrize("name", ["StableDiffusionXLPipeline", "os.path", "WanVACEPipeline", 7, None])
async def test_other_classes_are_refused(tmp_path: Path, name: object) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(ModelLoadFailed):
        await DiffusersVideo.load(ModelFiles("x", "diffusers-video", str(tmp_path)), lambda _: None)


def test_wan_makes_videos_through_the_server(checkpoint: Path, tmp_path: Path) -> None:
    entry = {"kind": "video", "backend": "diffusers-video", "sources": [str(checkpoint)]}
    entry["defaults"] = {"width": 64, "height": 48, "num_frames": 9, "fps": 12, "num_inference_steps": 2}
    catalog = {"models": {"wan": entry}, "profiles": {"mine": {"models": ["wan"]}}}
    (tmp_path / "models.yaml").write_text(json.dumps(catalog))
    with (
        serving(tmp_path / "run", profile="mine", MUYBRIDGE_CATALOG=str(tmp_path / "models.yaml")) as running,
        running.sdk(strict=False, timeout=300) as sdk,  # its type of sizes knows four of them
    ):
        video = sdk.videos.create_and_poll(model="wan", prompt="a red fox")
        assert video.status == "completed", video.error
        with av.open(io.BytesIO(sdk.videos.download_content(video.id).read())) as film:
            assert len(list(film.decode(video=0))) == 9
