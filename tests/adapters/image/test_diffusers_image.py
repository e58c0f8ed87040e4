"""The image backend on the starter checkpoint: a real Stable Diffusion XL, only tiny."""

import asyncio
import io
import json
import logging
import random
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from adapters.base import GeneratedImage, ImageDone, ImageRequest, LoadProgress, Lora, ModelFiles, Step
from adapters.errors import AdapterError, GenerationFailed, Interrupted, ModelLoadFailed, OutOfMemory, UnsupportedOption
from adapters.image.diffusers_image import DiffusersImage
from adapters.image.prompts import embed
from adapters.registry import implementation

# diffusers' schedulers hand tensors to numpy 2 in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

CHECKPOINT = Path(__file__).parents[3] / "starter" / "checkpoints" / "image"
REQUEST = ImageRequest("a red ball", width=128, height=128, num_inference_steps=4, seed=7)


def files(path: Path = CHECKPOINT, **options: object) -> ModelFiles:
    return ModelFiles("tiny", "diffusers-image", str(path), options)


@pytest.fixture(scope="module")
async def model() -> AsyncIterator[DiffusersImage]:
    reported: list[LoadProgress] = []
    adapter = await DiffusersImage.load(files(max_steps=200), reported.append)
    assert reported
    yield adapter
    await adapter.unload()


async def drawn(model: DiffusersImage, request: ImageRequest) -> list[GeneratedImage]:
    return [event async for event in model.generate(request) if isinstance(event, GeneratedImage)]


def pixels(picture: GeneratedImage) -> np.ndarray:
    with Image.open(io.BytesIO(picture.image.data)) as image:
        return np.asarray(image).astype(int)


def test_the_registry_knows_it():
    assert implementation("diffusers-image") is DiffusersImage


async def test_steps_then_pictures_then_done(model: DiffusersImage):
    events = [event async for event in model.generate(replace(REQUEST, n=2))]
    steps = [event for event in events if isinstance(event, Step)]
    assert [step.step for step in steps] == [2, 4, 6, 8], "two images advance together"
    assert {step.total for step in steps} == {8}
    pictures = [event for event in events if isinstance(event, GeneratedImage)]
    assert [(picture.index, picture.seed, picture.width, picture.height) for picture in pictures] == [
        (0, 7, 128, 128),
        (1, 8, 128, 128),
    ]
    assert isinstance(events[-1], ImageDone)
    assert events[-1].generation_ms > 0
    with Image.open(io.BytesIO(pictures[0].image.data)) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (128, 128), "RGB")
        assert len(image.getcolors(1 << 20) or ()) > 1000  # Noise, and not one grey.


async def test_the_same_request_gives_the_same_bytes_and_another_does_not(model: DiffusersImage):
    (first,), (again,) = await drawn(model, REQUEST), await drawn(model, REQUEST)
    assert first == again
    for change in ({"seed": 8}, {"prompt": "a blue sky"}, {"negative_prompt": "dark"}, {"guidance_scale": 3.0}):
        (other,) = await drawn(model, replace(REQUEST, **change))
        assert other.image.data != first.image.data, change


async def test_each_of_several_is_what_its_seed_gives_alone(model: DiffusersImage):
    several = await drawn(model, replace(REQUEST, n=3, seed=2**32 - 2))
    assert [picture.seed for picture in several] == [2**32 - 2, 2**32 - 1, 0]
    for picture in several:
        (alone,) = await drawn(model, replace(REQUEST, seed=picture.seed))
        assert alone.image.data == picture.image.data


async def test_in_one_batch_every_picture_has_the_bytes_that_it_has_alone(model: DiffusersImage):
    one_by_one = await DiffusersImage.load(files(batch_size=1), lambda _: None)
    loose = await DiffusersImage.load(files(batch_size=3, exact_batches=False), lambda _: None)
    request = replace(REQUEST, n=3, partial_images=1)
    together, alone = await drawn(model, request), await drawn(one_by_one, request)
    assert [picture.image.data for picture in together] == [picture.image.data for picture in alone]
    for a, b in zip(await drawn(loose, request), alone, strict=True):
        difference = np.abs(pixels(a) - pixels(b))
        assert difference.max() <= 1
    await one_by_one.unload()
    await loose.unload()


async def test_a_seed_is_drawn_and_reported_when_none_is_given(model: DiffusersImage):
    (first,), (second,) = [await drawn(model, replace(REQUEST, seed=None)) for _ in range(2)]
    assert first.seed != second.seed
    (again,) = await drawn(model, replace(REQUEST, seed=first.seed))
    assert again.image == first.image


@pytest.mark.parametrize(("media_type", "name"), [("image/jpeg", "JPEG"), ("image/webp", "WEBP")])
async def test_other_formats_and_sizes(model: DiffusersImage, media_type: str, name: str):
    (picture,) = await drawn(model, replace(REQUEST, media_type=media_type, width=136, height=72))
    with Image.open(io.BytesIO(picture.image.data)) as image:
        assert (image.format, image.size) == (name, (136, 72))


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"width": 130}, "size"),
        ({"height": 0}, "size"),
        ({"width": -128, "height": -128}, "size"),
        ({"width": 56}, "size"),
        ({"width": 2048, "height": 2056}, "size"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"num_inference_steps": 201}, "num_inference_steps"),
        ({"guidance_scale": float("nan")}, "guidance_scale"),
        ({"guidance_scale": -1.0}, "guidance_scale"),
        ({"guidance_scale": 1.0, "negative_prompt": "dark"}, "negative_prompt"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"prompt": "ball " * 1201}, "prompt"),
        ({"negative_prompt": "ball " * 1201}, "negative_prompt"),
    ],
)
async def test_promise_28_what_it_cannot_do_names_the_field(model: DiffusersImage, change: dict, param: str):
    with pytest.raises(UnsupportedOption) as caught:
        await drawn(model, replace(REQUEST, **change))
    assert caught.value.param == param


async def test_a_prompt_that_fits_is_read_as_diffusers_reads_it(model: DiffusersImage):
    pipeline = model._loaded.pipeline
    for negative in ("", "dark blurry"):
        wanted, unwanted = embed(pipeline, "a red ball on a zebra", negative)
        theirs = pipeline.encode_prompt("a red ball on a zebra", negative_prompt=negative or None)
        ours = (wanted.tokens, unwanted.tokens, wanted.pooled, unwanted.pooled)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


async def test_the_end_of_a_long_prompt_counts(model: DiffusersImage):
    long = "a ball " * 60
    (red,), (blue,) = [await drawn(model, replace(REQUEST, prompt=long + colour)) for colour in ("red", "blue")]
    assert red.image.data != blue.image.data


async def test_promise_27_prompts_do_not_reach_the_log(model: DiffusersImage, caplog: pytest.LogCaptureFixture, capfd):
    with caplog.at_level(logging.DEBUG):
        await drawn(model, replace(REQUEST, prompt="canary " * 100, negative_prompt="canary " * 100))
    assert "canary" not in caplog.text + "".join(capfd.readouterr())


async def test_closing_the_stream_stops_within_a_step(model: DiffusersImage):
    long = replace(REQUEST, num_inference_steps=200)
    async with aclosing(model.generate(long)) as events:
        assert await anext(events) == Step(1, 200)
        started = time.monotonic()
    assert time.monotonic() - started < 1
    assert await drawn(model, REQUEST)  # The model is whole and free.


async def test_requests_wait_for_each_other(model: DiffusersImage):
    one, two = await asyncio.gather(drawn(model, REQUEST), drawn(model, REQUEST))
    assert one == two


async def test_unloading_interrupts_running_and_queued_work():
    adapter = await DiffusersImage.load(files(max_steps=1000), lambda _: None)
    long = replace(REQUEST, num_inference_steps=1000)
    running, queued = adapter.generate(long), asyncio.ensure_future(drawn(adapter, long))
    await anext(running)
    await adapter.unload()
    with pytest.raises(Interrupted):
        async for _ in running:
            pass
    with pytest.raises(Interrupted):
        await queued
    with pytest.raises((Interrupted, RuntimeError)):
        await drawn(adapter, REQUEST)


@pytest.mark.parametrize(
    ("cause", "meant"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), OutOfMemory),
        (ValueError("a secret path"), GenerationFailed),
    ],
)
async def test_promise_12_failures_are_translated_and_the_model_lives(
    model: DiffusersImage, monkeypatch: pytest.MonkeyPatch, cause: Exception, meant: type[AdapterError]
):
    def fail(*args: object, **kwargs: object) -> None:
        raise cause

    with monkeypatch.context() as patched:
        patched.setattr(model._loaded.pipeline.unet, "forward", fail)
        with pytest.raises(meant) as caught:
            await drawn(model, REQUEST)
    assert "secret" not in caught.value.message
    assert await drawn(model, REQUEST)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "copy"))


async def refused(path: Path, **options: object) -> str:
    with pytest.raises(ModelLoadFailed) as caught:
        await DiffusersImage.load(files(path, **options), lambda _: None)
    assert str(path) not in caught.value.message
    return caught.value.message


async def test_promise_17_pickled_weights_are_not_read(copy: Path):
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    await refused(copy)


async def test_promise_17_code_in_a_checkpoint_is_not_run(copy: Path):
    (copy / "unet" / "evil.py").write_text(
        "import pathlib; pathlib.Path(__file__).with_name('ran').touch()\nclass Evil: pass\n"
    )
    index = json.loads((copy / "model_index.json").read_text())
    index["unet"] = ["evil", "Evil"]
    (copy / "model_index.json").write_text(json.dumps(index))
    await refused(copy)
    assert not (copy / "unet" / "ran").exists()


async def test_broken_checkpoints_are_refused(copy: Path, tmp_path: Path):
    assert "model_index.json" in await refused(tmp_path)
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    await refused(copy)


async def test_wrong_options_are_named():
    assert "colour" in await refused(CHECKPOINT, colour="red")
    assert "device" in await refused(CHECKPOINT, device="toaster")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
async def test_a_gpu_that_is_not_there_is_missed():
    assert "GPU" in await refused(CHECKPOINT, device="cuda")


@pytest.mark.gpu
async def test_on_a_gpu():
    adapter = await DiffusersImage.load(files(device="cuda"), lambda _: None)
    (picture,) = await drawn(adapter, REQUEST)
    assert picture.image.data
    await adapter.unload()


async def test_channels_last_draws_the_same_but_for_roundings(model: DiffusersImage):
    other = await DiffusersImage.load(files(channels_last=True), lambda _: None)
    (a,), (b,) = await drawn(model, REQUEST), await drawn(other, REQUEST)
    assert np.abs(pixels(a) - pixels(b)).max() <= 2
    weights = other._loaded.pipeline.unet.conv_in.weight
    assert weights.is_contiguous(memory_format=torch.channels_last)
    await other.unload()


@pytest.mark.long
async def test_a_compiled_model_draws_the_same_but_for_roundings(model: DiffusersImage):
    other = await DiffusersImage.load(files(compile="regional"), lambda _: None)
    (a,), (b,) = await drawn(model, REQUEST), await drawn(other, REQUEST)
    assert np.abs(pixels(a) - pixels(b)).max() <= 2
    await other.unload()


async def test_options_that_do_not_go_together_are_refused(tmp_path: Path):
    from support import tiny_pipelines

    assert "compile" in await refused(CHECKPOINT, compile="always")
    lora = tiny_pipelines.starter_lora(tmp_path / "ink.safetensors", seed=1)
    both = replace(files(compile="regional"), components={"lora:ink": str(lora)})
    with pytest.raises(ModelLoadFailed, match="LoRAs"):
        await DiffusersImage.load(both, lambda _: None)
    qwen = tiny_pipelines.build("qwen", tmp_path / "qwen")
    assert "channels_last" in await refused(qwen, channels_last=True)


async def test_promise_17_what_is_no_lora_of_this_model_is_refused(tmp_path: Path):
    from safetensors.torch import save_file
    from support import tiny_pipelines

    flux = tiny_pipelines.BUILDERS["flux"]()
    torch.save({"unet.x": torch.zeros(1)}, tmp_path / "pickle.safetensors")
    save_file({"nothing.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "short.safetensors").write_bytes(b"\x10")
    tiny_pipelines.lora(flux, tmp_path / "flux.safetensors", seed=1)
    for path in sorted(tmp_path.glob("*.safetensors")):
        with pytest.raises(ModelLoadFailed, match="LoRA 'ink'") as caught:
            await DiffusersImage.load(replace(files(), components={"lora:ink": str(path)}), lambda _: None)
        assert str(tmp_path) not in caught.value.message, path.name


async def test_a_refiner_of_other_latents_is_refused(tmp_path: Path):
    from support import tiny_pipelines

    other = tiny_pipelines.build("sd15", tmp_path / "sd15")
    with pytest.raises(ModelLoadFailed):
        await DiffusersImage.load(replace(files(), components={"refiner": str(other)}), lambda _: None)
    with pytest.raises(ModelLoadFailed, match="does not support the refiner"):
        await DiffusersImage.load(replace(files(other), components={"refiner": str(other)}), lambda _: None)


@pytest.mark.parametrize("name", ["LTXConditionPipeline", "StableDiffusionXLImg2ImgPipeline", "os.path", 7, None])
async def test_a_pipeline_that_does_not_draw_from_text_is_refused(tmp_path: Path, name: object):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    await refused(tmp_path)


def test_handover_leaves_each_model_the_steps_that_it_was_asked_for():
    import diffusers

    from adapters.image.refiner import handover

    for spacing in ("leading", "trailing", "linspace"):
        for base, more in ((40, 20), (1, 1), (24, 6), (5, 95)):
            scheduler = diffusers.EulerDiscreteScheduler(timestep_spacing=spacing)
            switch = handover(scheduler, base, more)
            limit = round(1000 - switch * 1000)  # as both pipelines compute it
            assert (scheduler.timesteps >= limit).sum() == base, (spacing, base, more)
            assert (scheduler.timesteps < limit).sum() == more
    with pytest.raises(UnsupportedOption) as caught:
        handover(diffusers.HeunDiscreteScheduler(), 4, 2)
    assert caught.value.param == "scheduler"


async def test_promise_10_random_cancels_leave_no_lora_no_refiner_and_no_ticket_behind():
    parts = {"refiner": str(CHECKPOINT.parent / "refiner")}
    parts["lora:print"] = str(CHECKPOINT.parent / "image-loras" / "old-print.safetensors")
    model = await DiffusersImage.load(replace(files(), components=parts), lambda _: None)
    small = replace(REQUEST, width=64, height=64)
    kinds = [small, replace(small, loras=(Lora("print"),)), replace(small, refiner_steps=2)]
    wanted = {
        (seed, kind): (await drawn(model, replace(kinds[kind], seed=seed)))[0].image
        for seed in (1, 2)
        for kind in range(3)
    }
    chance = random.Random(1)

    async def one() -> None:
        await asyncio.sleep(chance.random())
        seed, kind, left = chance.choice((1, 2)), chance.randrange(3), chance.choice((None, 0, 1, 3, 6))
        request = replace(kinds[kind], seed=seed)
        if left is None:
            assert (await drawn(model, request))[0].image == wanted[seed, kind]
            return
        async with aclosing(model.generate(request)) as events:
            async for _ in events:
                left -= 1
                if left < 0:
                    break

    await asyncio.gather(*(one() for _ in range(60)))
    assert not model._batcher._waiting
    for (seed, kind), image in wanted.items():
        assert (await drawn(model, replace(kinds[kind], seed=seed)))[0].image == image
    await model.unload()
