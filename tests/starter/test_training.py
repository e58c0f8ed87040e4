"""The trainings: every stage runs, goes on where it was stopped, and exports what the libraries load."""

import os
import random
import signal
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from starter.clips import frame, make_clip
from starter.drawing import draw
from starter.evaluation.__main__ import main as evaluate
from starter.evaluation.images import nearest
from starter.evaluation.refiner import sharpness
from starter.evaluation.videos import detect_motion, psnr
from starter.evaluation.vision import auc, balanced, calibration_error
from starter.image import scheduler
from starter.image import unet as image_unet
from starter.questions import several
from starter.refiner import unet as refiner_unet
from starter.training.__main__ import STAGES, main
from starter.training.curves import draw_curves
from starter.training.export import EXPORTS, export, export_lora, export_oracle
from starter.training.image_latents import shuffled, training_scenes
from starter.training.image_lora import ImageLora
from starter.training.image_refiner import ImageRefiner, blurred, copy_matching_weights
from starter.training.image_unet import ImageUnet
from starter.training.image_vae import ImageVae
from starter.training.images import drawn, random_scenes
from starter.training.loop import Run, averaged
from starter.training.muon import orthogonal
from starter.training.oracle import Oracle, OracleStage, load_oracle
from starter.training.packing import NOTHING, Sample, image_features, logits, pack
from starter.training.video_decoder import VideoDecoder
from starter.training.video_film import SPACE, TIME, VideoFilm, coordinates, packed
from starter.training.video_vae import VideoVae
from starter.training.vision import BATCH, SETS, Vision, comparisons, questions
from starter.video import vae
from starter.vision import model, tokenizer
from starter.world import ATTRIBUTES, SIZE, held_out

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine make steps of a tenth of a second last half a minute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of every stage, in their order."""
    folder = tmp_path_factory.mktemp("runs")
    made = {
        "oracle": lambda: OracleStage(folder),
        "image_vae": lambda: ImageVae(folder),
        "image_unet": lambda: ImageUnet(folder, 8),
        "image_lora": lambda: ImageLora(folder, 8),
        "image_refiner": lambda: ImageRefiner(folder, 8),
        "vision": lambda: Vision(folder),
        "video_vae": lambda: VideoVae(folder),
        "video_decoder": lambda: VideoDecoder(folder),
        "video_film": lambda: VideoFilm(folder, 8),
    }
    assert list(made) == list(STAGES)
    for name, make in made.items():
        assert Run(make(), folder / name, 2).train(log_every=1)
    return folder


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_learns_and_leaves_its_curve(name: str, runs: Path):
    rows = (runs / name / "losses.csv").read_text().splitlines()
    assert rows[0].startswith("step,")
    assert len(rows) == 3
    with Image.open(runs / name / "losses.png") as curve:
        assert curve.size == (720, 400)
    part = next(iter(torch.load(runs / name / "state.pt", weights_only=True)["parts"]))
    assert all(value.isfinite().all() for value in averaged(runs / name, part).values())


def test_the_command_goes_on_and_does_nothing_once_done(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main(["oracle", "--steps", "1", "--runs", str(tmp_path), "--device", "cpu"])
    main(["oracle", "--steps", "2", "--runs", str(tmp_path), "--device", "cpu"])
    assert "oracle: step 1 of 2" in capsys.readouterr().out
    main(["oracle", "--steps", "2", "--runs", str(tmp_path), "--device", "cpu"])
    assert capsys.readouterr().out == "oracle: step 2 of 2\n"


class Stopped(OracleStage):
    """Asks for its own end in its second step."""

    def loss(self, step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().loss(step, rng)


def test_a_run_that_was_stopped_gives_what_one_that_was_not_gives(tmp_path: Path):
    handler = signal.getsignal(signal.SIGTERM)
    assert not Run(Stopped(tmp_path), tmp_path / "stopped", 4).train()
    assert signal.getsignal(signal.SIGTERM) is handler
    resumed = Run(OracleStage(tmp_path), tmp_path / "stopped", 4)
    assert resumed.step == 2
    assert resumed.train()
    Run(OracleStage(tmp_path), tmp_path / "whole", 4).train()
    whole, parts = averaged(tmp_path / "whole", "oracle"), averaged(tmp_path / "stopped", "oracle")
    for name, weight in whole.items():
        assert torch.equal(weight, parts[name]), name


@pytest.mark.parametrize(
    ("model", "names"), [("image", ("image_unet",)), ("vision", ("vision",)), ("video", ("video_film",))]
)
def test_an_exported_checkpoint_can_be_trained_on(model: str, names: tuple[str, ...], runs: Path, tmp_path: Path):
    """Its weights are those that were averaged, but for the precision of what a checkpoint keeps."""
    export(model, runs, tmp_path)
    for name in names:
        module, _, stage = STAGES[name].partition(":")
        made = getattr(import_module(module), stage)(runs)
        run = Run(made, tmp_path / "again" / name, 4, warm=(tmp_path, 2))
        assert run.step == 2
        for key, part in made.parts().items():
            if key == "heads":  # They are not exported.
                continue
            average = averaged(runs / name, key)
            for weight, value in part.named_parameters():
                assert torch.allclose(value, average[weight], atol=0.01), weight


def test_a_stage_says_what_must_be_trained_before_it(tmp_path: Path):
    (tmp_path / "image_vae").mkdir()  # without it, the committed checkpoint's would do
    with pytest.raises(FileNotFoundError, match="train image_vae first"):
        ImageUnet(tmp_path, 8)


def test_the_image_model_is_exported_and_draws(runs: Path, tmp_path: Path):
    from diffusers import StableDiffusionXLPipeline

    folder = export("image", runs, tmp_path)
    pipeline = StableDiffusionXLPipeline.from_pretrained(
        str(folder), local_files_only=True, add_watermarker=False, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("a red fox", width=64, height=64, num_inference_steps=2).images[0]  # pyright: ignore
    assert picture.size == (64, 64)
    assert "`image_unet`: 2 of 2 steps" in (folder / "README.md").read_text()


def test_the_lora_is_exported_and_changes_what_is_drawn(runs: Path, tmp_path: Path):
    from diffusers import StableDiffusionXLPipeline

    folder = export("image", runs, tmp_path)
    export_lora(runs, tmp_path / "loras")
    pipeline = StableDiffusionXLPipeline.from_pretrained(
        str(folder), local_files_only=True, add_watermarker=False, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)

    def picture() -> bytes:
        chance = torch.Generator().manual_seed(1)
        return pipeline("a fox", width=64, height=64, num_inference_steps=2, generator=chance).images[0].tobytes()  # pyright: ignore

    plain = picture()
    pipeline.load_lora_weights(str(tmp_path / "loras"), weight_name="old-print.safetensors")
    assert picture() != plain
    pipeline.unload_lora_weights()
    assert picture() == plain


def test_the_refiner_is_exported_and_takes_over_in_latent_space(runs: Path, tmp_path: Path):
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    options = {"local_files_only": True, "add_watermarker": False, "dtype": torch.float32}
    base = StableDiffusionXLPipeline.from_pretrained(str(export("image", runs, tmp_path)), **options)
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(str(export("refiner", runs, tmp_path)), **options)
    assert refiner.text_encoder is None
    assert refiner.config.requires_aesthetics_score
    for part in ("vae", "text_encoder_2"):  # one autoencoder: a latent means the same to both
        for name, weight in getattr(base, part).state_dict().items():
            assert torch.equal(weight, getattr(refiner, part).state_dict()[name]), name
    latents = base("a fox", width=64, height=64, num_inference_steps=5, denoising_end=0.8, output_type="latent").images  # pyright: ignore
    made = refiner(
        "a fox", image=torch.zeros(1, 3, 64, 64), latents=latents, num_inference_steps=5, denoising_start=0.8
    ).images[0]  # pyright: ignore
    assert made.size == (64, 64)


def test_the_refiner_begins_with_what_fits_of_the_image_model():
    torch.manual_seed(1)
    base, refiner = image_unet(), refiner_unet()
    before = {name: weight.clone() for name, weight in refiner.state_dict().items()}
    copy_matching_weights(refiner, base)
    after, other = refiner.state_dict(), base.state_dict()
    assert torch.equal(after["up_blocks.1.resnets.1.conv1.weight"], other["up_blocks.2.resnets.1.conv1.weight"])
    key = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    assert torch.equal(after[key], other[key][:, 64:])
    taken = sum(weight.numel() for name, weight in after.items() if not torch.equal(weight, before[name]))
    assert taken > sum(weight.numel() for weight in after.values()) / 2


def test_a_softened_picture_is_softer():
    drawn_ones = [draw(scene) for scene in random_scenes(4, random.Random(1))]
    assert sharpness([blurred(picture) for picture in drawn_ones]) < 0.9 * sharpness(drawn_ones)


def test_latents_have_the_spread_that_the_noise_assumes_and_decode_as_before(runs: Path):
    from starter.image import vae

    saved = torch.load(runs / "image_unet" / "latents.pt", weights_only=True)
    latents = saved["latents"].float()
    assert latents.mean((0, 2, 3)).abs().max() < 0.01
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.01
    folded, plain = vae().eval(), vae().eval()
    folded.load_state_dict(saved["vae"])
    plain.load_state_dict(averaged(runs / "image_vae", "vae"))
    pixels = drawn(training_scenes(2))
    with torch.no_grad():
        one, other = folded.encode(pixels).latent_dist, plain.encode(pixels).latent_dist
        assert (one.mean - latents[:2]).abs().mean() < 0.02  # They were made in bfloat16.
        assert torch.allclose(folded.decode(one.mean).sample, plain.decode(other.mean).sample, atol=1e-3)
        # The noise that the encoder adds is scaled as its mean is.
        scale = other.mean.std((0, 2, 3), keepdim=True) / one.mean.std((0, 2, 3), keepdim=True)
        assert torch.allclose(other.std, one.std * scale, rtol=1e-3)


def test_the_noise_schedule_ends_in_pure_noise_that_half_precision_holds():
    made = scheduler()
    made.set_timesteps(25)
    assert made.timesteps[0] == 999
    assert 1_000 < made.init_noise_sigma < 65_504 / 6


def test_the_vision_model_is_exported_and_loads_whole(runs: Path, tmp_path: Path):
    from transformers import AutoModelForImageTextToText

    folder = export("vision", runs, tmp_path)
    _, info = AutoModelForImageTextToText.from_pretrained(str(folder), local_files_only=True, output_loading_info=True)
    assert not any(info.values()), info


def test_the_video_model_is_exported_and_films(runs: Path, tmp_path: Path):
    from diffusers import LTXConditionPipeline
    from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

    folder = export("video", runs, tmp_path)
    pipeline = LTXConditionPipeline.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.vae.latents_std.min() > 0
    assert pipeline.vae.latents_std.unique().numel() > 1
    keyframes = [LTXVideoCondition(image=draw(training_scenes(1)[0]), frame_index=index) for index in (0, 24)]
    made = pipeline(conditions=keyframes, prompt="a fox", width=SIZE, height=SIZE, num_frames=25, num_inference_steps=2)
    assert len(made.frames[0]) == 25  # pyright: ignore


def test_tokens_of_films_lie_where_the_pipeline_lays_them():
    from diffusers import LTXConditionPipeline

    autoencoder = vae()
    assert (autoencoder.spatial_compression_ratio, autoencoder.temporal_compression_ratio) == (SPACE, TIME)
    latents = torch.randn(2, 5, 4, 4, 4)
    assert torch.equal(packed(latents), LTXConditionPipeline._pack_latents(latents))
    for count, first in ((4, 0), (1, 24)):
        ids = LTXConditionPipeline._prepare_video_ids(1, count, 8, 8)
        scaled = LTXConditionPipeline._scale_video_ids(ids, SPACE, TIME, first)[0]
        assert torch.equal(coordinates(count, 8, first), scaled)


def test_the_oracle_in_git_reads_drawn_scenes():
    scenes = random_scenes(100, random.Random(8), held=True)
    read = load_oracle().read([draw(scene) for scene in scenes])
    right = [one == dict(zip(ATTRIBUTES, scene.values(), strict=True)) for one, scene in zip(read, scenes, strict=True)]
    assert sum(right) >= 98


def test_the_oracle_is_exported(runs: Path, tmp_path: Path):
    export_oracle(runs, tmp_path)
    assert isinstance(load_oracle(tmp_path / "oracle.safetensors"), Oracle)


def test_batches_of_questions_and_of_comparisons_hold_their_pictures():
    rng = random.Random(6)
    for _ in range(10):
        shown, samples = questions(rng)
        assert len(shown) == len(samples) == BATCH
        shown, samples = comparisons(rng)
        assert len(samples) == SETS
        assert len(shown) == sum(sample.images for sample in samples)
        for sample in samples:
            assert all(asked.answer in asked.options for asked in sample.asked)


def test_packed_questions_are_answered_as_if_asked_alone():
    words = tokenizer()
    torch.manual_seed(1)
    made = model(words).eval()
    rng = random.Random(3)
    scenes = random_scenes(2, rng)
    asked = [several(scene, rng, 5) for scene in scenes]
    pixels = drawn(scenes)
    with torch.no_grad():
        features = image_features(made, pixels)
        whole = pack([Sample(1, questions) for questions in asked], words)
        together, where = logits(made, whole, features)
        rows = where.nonzero()[:, 0]
        for index, questions in enumerate(asked):
            alone = [
                logits(made, pack([Sample(1, [question])], words), features[index : index + 1])[0]
                for question in questions
            ]
            assert torch.allclose(torch.cat(alone), together[rows == index], atol=1e-4)


def test_packed_questions_are_what_transformers_reads():
    """The same tokens as the chat template's, and the same logits as the model's own forward pass."""
    words = tokenizer()
    torch.manual_seed(1)
    made = model(words).eval()
    rng = random.Random(3)
    scene = random_scenes(1, rng)[0]
    question = several(scene, rng, 1)[0]
    one = pack([Sample(1, [question])], words)
    content = [{"type": "image"}, {"type": "text", "text": question.text}]
    text = words.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
    image = words.convert_tokens_to_ids("<image>")
    spelled = [token for token in one.tokens[0].tolist() if token != image]
    answer = words(question.answer, add_special_tokens=False).input_ids
    assert spelled == [token for token in words(text).input_ids if token != image] + answer
    pixels = drawn([scene])
    with torch.no_grad():
        mine, _ = logits(made, one, image_features(made, pixels))
        theirs = made(
            input_ids=one.tokens, pixel_values=pixels[:, None].expand(-1, 2, -1, -1, -1),
            image_sizes=torch.tensor([[SIZE, SIZE]]),
        ).logits  # fmt: skip
    assert torch.allclose(mine, theirs[0, (one.targets[0] != NOTHING)], atol=1e-4)


def test_no_training_sees_what_is_held_out():
    assert not any(held_out(scene.values()) for scene in training_scenes(500))
    assert not any(held_out(scene.values()) for scene in random_scenes(500, random.Random(1)))
    assert all(held_out(scene.values()) for scene in random_scenes(100, random.Random(1), held=True))


def test_every_epoch_takes_all_once():
    taken = [index for step in range(5) for index in shuffled(20, 4, step, 7)]
    assert sorted(taken) == list(range(20))
    assert taken != [index for step in range(5, 10) for index in shuffled(20, 4, step, 7)]


def test_muon_steps_in_all_directions_alike():
    torch.manual_seed(1)
    for shape in ((24, 60), (60, 24)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert 0.5 < values.min() < values.max() < 1.4
    assert isinstance(nn.Linear(2, 2), nn.Module)


def test_figures_of_the_evaluation():
    assert balanced([(True, True), (True, False), (False, True)]) == 0.75
    assert auc([0.9, 0.5], [0.5, 0.1]) == 0.875
    assert calibration_error([(0.8, True)] * 8 + [(0.8, False)] * 2) == pytest.approx(0)
    assert calibration_error([(0.95, False)] * 4) == pytest.approx(0.95)
    known = training_scenes(150)
    assert min(nearest(drawn(known[-2:]), known)) > 60
    assert max(nearest(drawn(random_scenes(2, random.Random(1), held=True)), known)) < 30


def test_a_curve_of_nothing_is_not_drawn(tmp_path: Path):
    draw_curves([{"step": 1.0, "loss": 0.0}], tmp_path / "curve.png", "none")
    assert not (tmp_path / "curve.png").exists()


def test_a_motion_is_read_from_a_films_last_frame():
    for scene in random_scenes(3, random.Random(2), held=True):
        for motion in ("left", "right", "up", "zoom", "still"):
            clip = make_clip(scene, motion)
            assert detect_motion(clip, frame(clip, 1.0)) == motion
    assert psnr(frame(clip, 0.0), frame(clip, 0.0)) > 60


def test_the_evaluation_measures_what_is_trained_and_skips_what_is_not(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name in EXPORTS:
        export(name, runs, tmp_path)
    evaluate(["--count", "2", "--checkpoints", str(tmp_path), "--sheets", str(tmp_path / "sheets")])
    mentioned = capsys.readouterr().out
    for figure in (
        "all five right",
        "predicates, balanced accuracy",
        "validation AUC",
        "direction right",
        "sharpness, with it",
    ):
        assert figure in mentioned
    assert {file.name for file in (tmp_path / "sheets").iterdir()} == {"image.png", "refiner.png", "video.png"}
    (tmp_path / "image" / "README.md").write_text("UNTRAINED")
    evaluate(["image", "--checkpoints", str(tmp_path)])
    assert "untrained" in capsys.readouterr().out
