"""The video backend on the starter checkpoint: a real LTX-Video with keyframes, only tiny."""

import io
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.videos import generated, pixels_of

from adapters.base import GeneratedVideo, Keyframe, Media, ModelFiles, Step, VideoRequest
from adapters.errors import InvalidMedia, ModelLoadFailed, UnsupportedOption
from adapters.media.decode_image import encode_image
from adapters.media.join_video import encode_mp4
from adapters.registry import implementation
from adapters.video.diffusers_video import DiffusersVideo, nearest

# diffusers' schedulers hand tensors to numpy 2 in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

CHECKPOINT = Path(__file__).parents[3] / "starter" / "checkpoints" / "video"
REQUEST = VideoRequest("a red ball", width=128, height=128, num_frames=25, num_inference_steps=4, seed=7)
RED = encode_image(Image.new("RGB", (100, 50), "red"), "image/png")
BLUE = encode_image(Image.new("RGB", (64, 64), "blue"), "image/jpeg")


@pytest.fixture(scope="module")
async def model() -> AsyncIterator[DiffusersVideo]:
    files = ModelFiles("tiny", "diffusers-video", str(CHECKPOINT), {"max_steps": 200})
    adapter = await DiffusersVideo.load(files, lambda _: None)
    yield adapter
    await adapter.unload()


async def filmed(model: DiffusersVideo, **changes: object) -> GeneratedVideo:
    return await generated(model, replace(REQUEST, **changes))


def test_the_registry_knows_it():
    assert implementation("diffusers-video") is DiffusersVideo


async def test_text_becomes_a_video_of_moving_noise(model: DiffusersVideo):
    video = await filmed(model)
    assert (video.width, video.height, video.num_frames, video.fps, video.seed) == (128, 128, 25, 24, 7)
    assert video.video.media_type == "video/mp4"
    assert video.generation_ms > 0
    pixels = pixels_of(video)
    assert pixels.shape == (25, 128, 128, 3)
    assert pixels.std() > 10
    assert np.abs(pixels[0].astype(int) - pixels[-1]).mean() > 5
    with Image.open(io.BytesIO(video.thumbnail.data)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("PNG", (128, 128))
        # In brightness only (BT.709): H.264 halves the resolution of colours, which noise does not survive.
        weights = np.array([0.2126, 0.7152, 0.0722])
        brightness = (np.asarray(thumbnail) @ weights).ravel()
        likeness = [np.corrcoef(brightness, (frame @ weights).ravel())[0, 1] for frame in pixels]
        assert np.argmax(likeness) == 0
        assert likeness[0] > 0.9


async def test_the_same_request_gives_the_same_bytes_and_another_does_not(model: DiffusersVideo):
    first, again = await filmed(model), await filmed(model)
    assert replace(again, generation_ms=0) == replace(first, generation_ms=0)
    changes = ({"seed": 8}, {"prompt": "sky"}, {"negative_prompt": "dark"}, {"guidance_scale": 3.0}, {"fps": 12})
    for change in changes:
        assert (await filmed(model, **change)).video != first.video, change


async def test_a_seed_is_drawn_and_reported_when_none_is_given(model: DiffusersVideo):
    first = await filmed(model, seed=None)
    assert (await filmed(model, seed=first.seed)).video == first.video


async def test_keyframes_change_the_video_each_by_its_place_picture_and_strength(model: DiffusersVideo):
    variants = [
        (),
        (Keyframe(RED),),
        (Keyframe(BLUE),),
        (Keyframe(RED, strength=0.5),),
        (Keyframe(RED, 12),),
        (Keyframe(RED, 24),),
        (Keyframe(RED), Keyframe(BLUE, 24)),
        (Keyframe(RED), Keyframe(BLUE, 9), Keyframe(RED, 24, strength=0.8)),
    ]
    videos = [(await filmed(model, keyframes=keyframes)).video.data for keyframes in variants]
    assert len(set(videos)) == len(videos)


async def test_negative_indices_count_from_the_end(model: DiffusersVideo):
    for negative, positive in ((-1, 24), (-13, 12), (-25, 0)):
        assert (await filmed(model, keyframes=(Keyframe(RED, negative),))).video == (
            await filmed(model, keyframes=(Keyframe(RED, positive),))
        ).video


async def test_keyframes_are_cropped_and_not_squeezed(model: DiffusersVideo):
    """What lies outside the centre has no influence."""
    wide = Image.new("RGB", (300, 100), "red")
    marked = wide.copy()
    marked.paste((0, 255, 0), (0, 0, 60, 100))
    one, two = [
        await filmed(model, keyframes=(Keyframe(encode_image(image, "image/png")),)) for image in (wide, marked)
    ]
    assert one.video == two.video


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ((128, 128, 24), (128, 128, 25)),
        ((150, 100, 26), (160, 96, 25)),
        ((143, 144, 31), (128, 160, 33)),
        ((8, 8, 1), (32, 32, 1)),
    ],
)
async def test_sizes_and_lengths_are_rounded_to_the_nearest_and_reported(
    model: DiffusersVideo, asked: tuple[int, int, int], made: tuple[int, int, int]
):
    width, height, num_frames = asked
    video = await filmed(model, width=width, height=height, num_frames=num_frames, keyframes=(Keyframe(RED, -1),))
    assert (video.width, video.height, video.num_frames) == made
    assert pixels_of(video).shape == (made[2], made[1], made[0], 3)


async def test_the_last_frame_asked_for_is_the_last_that_is_made(model: DiffusersVideo):
    for asked, made in ((26, 25), (28, 29)):
        here = await filmed(model, num_frames=asked, keyframes=(Keyframe(RED, asked - 1),))
        assert here.num_frames == made
        assert here.video == (await filmed(model, num_frames=made, keyframes=(Keyframe(RED, made - 1),))).video


def test_nearest():
    assert [nearest(value, 32) for value in (1, 47, 48, 720)] == [32, 32, 64, 736]
    assert [nearest(value, 8, 1) for value in (1, 4, 5, 9, 12, 13, 121)] == [1, 1, 9, 9, 9, 17, 121]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"num_frames": 0}, "num_frames"),
        ({"num_frames": -8}, "num_frames"),
        ({"num_frames": 258}, "num_frames"),
        ({"fps": 0}, "fps"),
        ({"fps": 121}, "fps"),
        ({"width": 0}, "size"),
        ({"width": -128, "height": -128}, "size"),
        ({"width": 4096, "height": 4096}, "size"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"num_inference_steps": 201}, "num_inference_steps"),
        ({"guidance_scale": float("inf")}, "guidance_scale"),
        ({"guidance_scale": 1.0, "negative_prompt": "dark"}, "negative_prompt"),
        ({"seed": -1}, "seed"),
        ({"prompt": "ball " * 1100}, "prompt"),
        ({"negative_prompt": "ball " * 1100}, "negative_prompt"),
        ({"keyframes": (Keyframe(RED, 25),)}, "keyframes"),
        ({"keyframes": (Keyframe(RED, -26),)}, "keyframes"),
        ({"keyframes": (Keyframe(RED, strength=1.5),)}, "keyframes"),
        ({"keyframes": (Keyframe(RED, strength=float("nan")),)}, "keyframes"),
        ({"keyframes": (Keyframe(RED, 24), Keyframe(BLUE, -1))}, "keyframes"),
        ({"keyframes": (Keyframe(RED),) * 17}, "keyframes"),
    ],
)
async def test_promise_28_what_it_cannot_do_names_the_field(model: DiffusersVideo, change: dict, param: str):
    with pytest.raises(UnsupportedOption) as caught:
        await filmed(model, **change)
    assert (caught.value.param or "").split(".")[0] == param


async def test_a_keyframe_that_is_no_picture_is_refused(model: DiffusersVideo):
    with pytest.raises(InvalidMedia) as caught:
        await filmed(model, keyframes=(Keyframe(Media("image/png", b"#!ffconcat")),))
    assert caught.value.param == "keyframes"


async def test_the_end_of_a_long_prompt_counts(model: DiffusersVideo):
    long = "a ball " * 200
    assert (await filmed(model, prompt=long + "red")).video != (await filmed(model, prompt=long + "blue")).video


async def test_closing_the_stream_stops_within_a_step(model: DiffusersVideo):
    async with aclosing(model.generate(replace(REQUEST, num_inference_steps=200))) as events:
        assert await anext(events) == Step(1, 200)
        started = time.monotonic()
    assert time.monotonic() - started < 1
    await filmed(model)


async def test_another_kind_of_checkpoint_is_refused():
    files = ModelFiles("tiny", "diffusers-video", str(CHECKPOINT.parent / "image"))
    with pytest.raises(ModelLoadFailed):
        await DiffusersVideo.load(files, lambda _: None)


@pytest.mark.gpu
async def test_on_a_gpu():
    files = ModelFiles("tiny", "diffusers-video", str(CHECKPOINT), {"device": "cuda"})
    adapter = await DiffusersVideo.load(files, lambda _: None)
    assert (await filmed(adapter, keyframes=(Keyframe(RED, -1),))).num_frames == 25
    await adapter.unload()


async def test_a_long_film_is_encoded_tile_by_tile_as_it_is_decoded(model: DiffusersVideo):
    before = model._options
    model._options = before.model_copy(update={"tile_frames": 16})
    try:
        *steps, video = [event async for event in model.generate(replace(REQUEST, num_frames=41))]
        assert (video.num_frames, len(pixels_of(video))) == (41, 41)
        assert steps[:4] == [Step(number, 4) for number in range(1, 5)]
        assert len(steps) > 6  # and one more for each tile: where a reader that goes away is noticed
        async with aclosing(model.generate(replace(REQUEST, num_frames=41))) as events:
            for _ in range(5):
                await anext(events)
    finally:
        model._options = before
    assert (await filmed(model)).num_frames == 25  # the model is free, and as it was


async def test_an_edit_keeps_as_much_of_its_source_as_strength_says(model: DiffusersVideo, tmp_path: Path):
    ramp = np.linspace(0, 255, 96, dtype=np.uint8)
    picture = np.stack([np.tile(ramp, (64, 1))] * 3, -1)
    source = tmp_path / "source.mp4"
    source.write_bytes(encode_mp4(np.stack([picture] * 20), 24))  # of another size, and shorter: its last frame stays
    media = Media("video/mp4", path=str(source))
    made = {
        strength: await filmed(model, source=media, strength=strength, num_inference_steps=8)
        for strength in (0.2, 0.6, 1.0)
    }
    plain = await filmed(model, num_inference_steps=8)
    assert made[1.0].video == plain.video
    assert [video.num_frames for video in made.values()] == [25] * 3
    shown = [pixels_of(video).astype(int) for video in made.values()]
    again = await filmed(model, source=media, strength=0.2, num_inference_steps=8)
    assert again.video == made[0.2].video
    # Untrained as it is, the less noise there is, the less depends on it.
    other = {
        strength: pixels_of(await filmed(model, source=media, strength=strength, num_inference_steps=8, seed=8))
        for strength in (0.2, 1.0)
    }
    assert np.abs(shown[0] - other[0.2]).mean() < np.abs(shown[2] - other[1.0]).mean()


@pytest.mark.parametrize("strength", [-0.1, 0.0, 0.2, 1.1, float("nan")])
async def test_a_strength_that_leaves_nothing_to_film_is_refused(model: DiffusersVideo, strength: float):
    media = Media("video/mp4", path="/nowhere")
    with pytest.raises(UnsupportedOption) as refused:
        await filmed(model, source=media, strength=strength)
    assert refused.value.param == "strength"
