"""The video backend on LTX-2: a tiny checkpoint of its classes, with keyframes and sound, alone and through the server."""

import io
import json
import time
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from support import tiny_pipelines
from support.servers import serving
from support.videos import generated, narration, pixels_of, tracks_of

from adapters.base import GeneratedVideo, Keyframe, Media, ModelFiles, Step, VideoRequest
from adapters.errors import UnsupportedOption
from adapters.media.decode_image import encode_image
from adapters.video.diffusers_video import DiffusersVideo
from adapters.video.inputs import inputs_of
from adapters.video.ltx2 import guidance

REQUEST = VideoRequest("a red fox", num_frames=17, width=64, height=64, num_inference_steps=2, seed=4)
RED = encode_image(Image.new("RGB", (100, 50), "red"), "image/png")
BLUE = encode_image(Image.new("RGB", (64, 64), "blue"), "image/png")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.build("ltx2", tmp_path_factory.mktemp("ltx2") / "ltx2")


@pytest.fixture(scope="module")
async def model(checkpoint: Path) -> AsyncIterator[DiffusersVideo]:
    options = {"max_steps": 500}
    adapter = await DiffusersVideo.load(ModelFiles("ltx2", "diffusers-video", str(checkpoint), options), lambda _: None)
    yield adapter
    await adapter.unload()


async def filmed(model: DiffusersVideo, **changes: Any) -> GeneratedVideo:
    return await generated(model, replace(REQUEST, **changes))


def sound(video: GeneratedVideo) -> tuple[int, np.ndarray]:
    """(Hz, int16 [samples, channels])."""
    assert video.soundtrack is not None
    assert video.soundtrack.media_type == "audio/wav"
    with wave.open(io.BytesIO(video.soundtrack.data)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return file.getframerate(), samples.reshape(-1, file.getnchannels())


@contextmanager
def watched(model: DiffusersVideo, part: str, name: str) -> Iterator[list[Any]]:
    """What a method of the pipeline, or of one of its parts, is called with."""
    owner = getattr(model._loaded.pipeline, part) if part else model._loaded.pipeline
    before, calls = getattr(owner, name), []

    def watch(*args: Any, **named: Any) -> Any:
        calls.append(named)
        return before(*args, **named)

    object.__setattr__(owner, name, watch)
    try:
        yield calls
    finally:
        object.__delattr__(owner, name)


async def test_a_film_has_pictures_and_a_sound_as_long(model: DiffusersVideo) -> None:
    assert type(model._loaded.pipeline).__name__ == "LTX2ConditionPipeline"  # of a checkpoint that names another
    video = await filmed(model, width=70, num_frames=20)
    assert (video.width, video.height, video.num_frames, video.fps) == (64, 64, 17, 24)
    assert pixels_of(video).shape == (17, 64, 64, 3)
    rate, samples = sound(video)
    assert (rate, samples.shape[1]) == (24_000, 2)
    assert len(samples) / rate == pytest.approx(17 / 24, abs=0.06)  # a latent of it is 40 ms
    assert samples.std() > 100
    slow = await filmed(model, fps=12)
    assert len(sound(slow)[1]) / rate == pytest.approx(17 / 12, abs=0.06)


async def test_the_same_request_films_and_sounds_the_same_and_another_does_not(model: DiffusersVideo) -> None:
    first, again = await filmed(model), await filmed(model)
    assert replace(again, generation_ms=0) == replace(first, generation_ms=0)
    changes = ({"seed": 5}, {"prompt": "a blue whale"}, {"negative_prompt": "dark"}, {"guidance_scale": 3.0})
    for change in changes:
        other = await filmed(model, **change)
        assert other.video != first.video, change
        assert other.soundtrack != first.soundtrack, change


async def test_keyframes_change_the_video_each_by_its_place_picture_and_strength(model: DiffusersVideo) -> None:
    variants = [
        (),
        (Keyframe(RED),),
        (Keyframe(BLUE),),
        (Keyframe(RED, strength=0.5),),
        (Keyframe(RED, 5),),
        (Keyframe(RED, 6),),
        (Keyframe(RED, 16),),
        (Keyframe(RED), Keyframe(BLUE, 16)),
        (Keyframe(RED), Keyframe(BLUE, 9), Keyframe(RED, 16, strength=0.8)),
    ]
    videos = [(await filmed(model, keyframes=keyframes)).video.data for keyframes in variants]
    assert len(set(videos)) == len(videos)


async def test_keyframes_are_at_the_very_frame_that_was_asked_for(model: DiffusersVideo) -> None:
    """Its pipeline counts in latents, eight frames each, and puts `-1` eight frames before the end."""
    for asked, at in ((1, 1), (4, 4), (8, 8), (9, 9), (15, 15), (16, 16), (-1, 16), (-2, 15), (-16, 1)):
        with watched(model, "", "_prepare_keyframe_coords") as calls:
            await filmed(model, keyframes=(Keyframe(RED, asked),))
        assert [(call["pixel_frame_idx"], call["num_pixel_frames"]) for call in calls] == [(at, 1)], asked


async def test_a_first_picture_is_the_first_frame_whatever_the_seed(model: DiffusersVideo) -> None:
    def gap(one: GeneratedVideo, two: GeneratedVideo) -> float:
        return float(np.abs(pixels_of(one)[0].astype(int) - pixels_of(two)[0]).mean())

    shown = [await filmed(model, seed=seed, keyframes=(Keyframe(RED),)) for seed in (1, 2)]
    free = [await filmed(model, seed=seed) for seed in (1, 2)]
    other = await filmed(model, seed=1, keyframes=(Keyframe(BLUE),))
    assert gap(*shown) < 0.5 * gap(*free)
    assert gap(shown[0], other) > 2 * gap(*shown)


async def test_guidance_of_one_is_none_of_any_kind(model: DiffusersVideo) -> None:
    for scale, passes in ((1.0, 1), (0.0, 1), (3.0, 2)):  # both texts at once, and once more with the sound apart
        with watched(model, "transformer", "forward") as calls:
            await filmed(model, guidance_scale=scale)
        assert len(calls) == passes * REQUEST.num_inference_steps, scale


def test_later_generations_are_guided_as_diffusers_has_it() -> None:
    class Pipeline:
        class transformer:
            class config:
                use_prompt_embeddings, perturbed_attn, num_layers = False, True, 48

    told = guidance(Pipeline, 3.0)
    assert told == {"use_cross_timestep": True, "spatio_temporal_guidance_blocks": [28]}
    Pipeline.transformer.config.use_prompt_embeddings = True
    assert guidance(Pipeline, 3.0)["spatio_temporal_guidance_blocks"] == [29]
    assert guidance(Pipeline, 3.0)["use_cross_timestep"] is False


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"source": Media("video/mp4", path="/nowhere.mp4")}, "video"),
        ({"prompt": "fox " * 400}, "prompt"),
        ({"keyframes": (Keyframe(RED, 16), Keyframe(BLUE, -1))}, "keyframes"),
        ({"keyframes": (Keyframe(RED, 17),)}, "keyframes.frame_index"),
    ],
)
async def test_promise_28_what_ltx_2_lacks_is_named(model: DiffusersVideo, change: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedOption) as caught:
        await filmed(model, **change)
    assert caught.value.param == param


async def test_the_end_of_a_long_prompt_counts(model: DiffusersVideo) -> None:
    long = "a fox " * 150
    assert (await filmed(model, prompt=long + "red")).video != (await filmed(model, prompt=long + "blue")).video


async def test_closing_the_stream_stops_within_a_step(model: DiffusersVideo) -> None:
    async with aclosing(model.generate(replace(REQUEST, num_inference_steps=500))) as events:
        assert await anext(events) == Step(1, 500)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    await filmed(model)


async def test_a_long_film_is_encoded_tile_by_tile_and_sounds_as_ever(model: DiffusersVideo) -> None:
    before = model._options
    whole = await filmed(model, num_frames=41)
    model._options = before.model_copy(update={"tile_frames": 16})
    try:
        *steps, tiled = [event async for event in model.generate(replace(REQUEST, num_frames=41))]
    finally:
        model._options = before
    assert len(steps) > 3
    assert len(pixels_of(tiled)) == 41
    assert tiled.soundtrack == whole.soundtrack


async def test_what_the_files_say_is_what_the_pipeline_can(model: DiffusersVideo, checkpoint: Path) -> None:
    assert inputs_of("diffusers-video", checkpoint) == model._can.inputs


def test_ltx_2_films_through_the_server_with_its_own_sound_or_with_the_requests(
    checkpoint: Path, tmp_path: Path
) -> None:
    entry = {"kind": "video", "backend": "diffusers-video", "sources": [str(checkpoint)]}
    entry["defaults"] = {"width": 64, "height": 64, "num_frames": 17, "fps": 12, "num_inference_steps": 2}
    catalog = {"models": {"ltx2": entry}, "profiles": {"mine": {"models": ["ltx2"]}}}
    (tmp_path / "models.yaml").write_text(json.dumps(catalog))
    with serving(tmp_path / "run", profile="mine", MUYBRIDGE_CATALOG=str(tmp_path / "models.yaml")) as running:

        def film(files: dict[str, Any], **fields: Any) -> tuple[float, float | None]:
            parts = {name: (None, str(value)) for name, value in fields.items()} | files
            made = httpx.post(f"{running.url}/v1/videos", files=parts, timeout=60)
            assert made.status_code == 200, made.text
            url = f"{running.url}/v1/videos/{made.json()['id']}"
            deadline = time.monotonic() + 240
            while (video := httpx.get(url).json())["status"] not in ("completed", "failed"):
                assert time.monotonic() < deadline, video
                time.sleep(0.1)
            assert video["status"] == "completed", video
            return tracks_of(httpx.get(url + "/content").content)

        fields = {"model": "ltx2", "prompt": "a red fox"}
        pictures, own = film({"input_reference": ("a.png", RED.data)}, **fields)
        assert pictures == pytest.approx(17 / 12, abs=0.01)
        assert own is not None
        assert pictures - 0.1 < own <= pictures
        pictures, brought = film({"audio": ("n.mp3", narration(0.5))}, **fields)
        assert pictures == pytest.approx(17 / 12, abs=0.01)
        assert brought == pytest.approx(0.5, abs=0.1)
