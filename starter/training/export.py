"""Writes what was trained: `python -m starter.training.export oracle|image|lora|refiner|vision|video [--out DIR]`.

A checkpoint takes the averaged weights of its runs. Its card tells the steps that were done, and the scores that
`python -m starter.evaluation --write` has measured, once it has: export, evaluate, export again.
"""

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import save_file

from starter import image, refiner, video, vision
from starter.training.__main__ import RUNS, STAGES
from starter.training.loop import Stage, averaged, steps_done
from starter.training.oracle import WEIGHTS

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
SCORES = Path(__file__).parents[1] / "evaluation" / "scores.json"
"""What was measured, by model: text by name of the figure."""

CARD = """# Starter {name} model

`{pipeline}`, small, trained from nothing on the storybook world of `starter/world.py`: six settings, eight
subjects, six colours, three times of day, four kinds of weather. It knows nothing else.

## Sizes
{sizes}

## Data
Pictures drawn by `starter/drawing.py` and captions by `starter/captions.py`, in no end of layouts and phrasings. One of
ten combinations of attributes is held out (`starter.world.held_out`), and measured on.

## Recipe
`python -m starter.training {stages}`, then `python -m starter.training.export {name}` (docs/starter.md).
{recipe}

## Measured
On held-out combinations, by `make starter-eval`:

{scores}

## Limits
{limits}
"""


LORA_CARD = """# LoRAs of the starter's image model

`old-print.safetensors`: the storybook world as an old print, dark ink on yellow paper. Rank 8, on attention and
convolutions; float16; Apache-2.0, as this repository.

Trained by `python -m starter.training image_lora` ({steps:,} of {planned:,} steps, seed {seed})
on 768 drawn scenes in one ink, on top of the image checkpoint as it is. What it changes can be seen; how much it keeps
has not been measured, and colours are not told apart, nor are they meant to be.
"""


def card(name: str, pipeline: str, sizes: str, done: dict[str, tuple[int, int, int]], limits: str) -> str:
    """The text of a model card.

    Args:
        name: Of the model.
        pipeline: The class that loads it.
        sizes: A list of sizes.
        done: By stage: its seed, the steps that were done, and the steps that its schedule has.
        limits: What it cannot do.
    """
    scores = json.loads(SCORES.read_text(encoding="utf-8")) if SCORES.is_file() else {}
    measured = [f"- {figure}: {value}" for figure, value in scores.get(name, {}).items()] or ["- Nothing yet."]
    recipe = [
        f"- `{stage}`: {steps:,} of {planned:,} steps, seed {seed}, on a CPU of two cores."
        for stage, (seed, steps, planned) in done.items()
    ]
    return CARD.format(
        name=name,
        pipeline=pipeline,
        sizes=sizes,
        stages=" ".join(done),
        recipe="\n".join(recipe),
        scores="\n".join(measured),
        limits=limits,
    )


def _done(runs: Path, *stages: str) -> dict[str, tuple[int, int, int]]:
    found: dict[str, tuple[int, int, int]] = {}
    for name in stages:
        module, _, stage = STAGES[name].partition(":")
        made: type[Stage] = getattr(import_module(module), stage)
        steps, planned = steps_done(runs / name)
        found[name] = made.seed, steps, planned or made.steps
    return found


def export_image(runs: Path, folder: Path) -> None:
    """The image checkpoint, of `image_vae` and `image_unet`."""
    from starter.training.image_unet import Texts

    denoiser, autoencoder, texts = image.unet(), image.vae(), Texts()
    cached = torch.load(runs / "image_unet" / "latents.pt", weights_only=True)
    autoencoder.load_state_dict(cached["vae"])
    denoiser.load_state_dict(averaged(runs / "image_unet", "unet"))
    texts.load_state_dict(averaged(runs / "image_unet", "texts"))
    pipeline = image.assemble(denoiser, autoencoder, (texts.first, texts.second))
    limits = (
        "One subject a picture, at 128x128; other sizes work, less well. Words that are not of the world do nothing."
    )
    done = _done(runs, "image_vae", "image_unet")
    image.save(pipeline, folder, card("image", "StableDiffusionXLPipeline", image.sizes(pipeline), done, limits))


def export_vision(runs: Path, folder: Path) -> None:
    """The vision checkpoint, of `vision`."""
    made = vision.model(vision.tokenizer())
    made.load_state_dict(averaged(runs / "vision", "model"))
    sizes = vision.save(made, folder)
    limits = (
        "It was asked only what `starter/questions.py` asks, in those words; its answers to anything else are chance.\n"
        "Several pictures at once it cannot compare. Its recipe grew while it ran: some 2,500 steps of earlier forms,\n"
        "without the help for words, are in these weights too; schedules of 3,400 and 5,400 steps were lengthened;\n"
        "the words for one attribute, and the look at wrong words, came with the last 2,100 steps."
    )
    text = card("vision", "LlavaOnevisionForConditionalGeneration", sizes, _done(runs, "vision"), limits)
    (folder / "README.md").write_text(text, encoding="utf-8")


def export_video(runs: Path, folder: Path) -> None:
    """The video checkpoint, of `video_vae`, `video_decoder` and `video_film`."""
    from starter.training.video_film import normalised_vae
    from starter.words import t5_tokenizer

    autoencoder, denoiser, text = normalised_vae(runs), video.transformer(), video.text_encoder(t5_tokenizer())
    cached = torch.load(runs / "video_film" / "latents.pt", weights_only=True)
    autoencoder.latents_mean.copy_(cached["mean"])
    autoencoder.latents_std.copy_(cached["std"])
    autoencoder.decoder.load_state_dict(averaged(runs / "video_decoder", "decoder"))
    denoiser.load_state_dict(averaged(runs / "video_film", "transformer"))
    text.load_state_dict(averaged(runs / "video_film", "text"))
    pipeline = video.assemble(denoiser, autoencoder, text)
    limits = (
        "Films of 25 frames at 128x128 in which one thing happens: `starter/clips.py` says which. Far from keyframes\n"
        "whatever moves is soft. The transformer and the text encoder began with those of an earlier model, after\n"
        "7,700 steps on latents of another kind (`--warm 0`; its ends, of another width, began anew). Their schedule\n"
        "was of 3,200 steps, then of 7,500, then of 12,000, and until step 3,404 half of all batches ended with a\n"
        "picture too."
    )
    done = _done(runs, "video_vae", "video_decoder", "video_film")
    video.save(pipeline, folder, card("video", "LTXConditionPipeline", video.sizes(pipeline), done, limits))


def export_lora(runs: Path, folder: Path) -> None:
    """The LoRA, of `image_lora`: one file, as `load_lora_weights` reads it."""
    from diffusers import StableDiffusionXLPipeline
    from peft import get_peft_model_state_dict

    from starter.training.image_lora import ImageLora

    made = ImageLora(runs).unet
    made.load_state_dict(averaged(runs / "image_lora", "unet"))
    layers = {name: weight.half() for name, weight in get_peft_model_state_dict(made).items()}
    folder.mkdir(parents=True, exist_ok=True)
    StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=layers, weight_name="old-print.safetensors")
    (folder / "old-print.safetensors").chmod(0o644)
    seed, steps, planned = _done(runs, "image_lora")["image_lora"]
    text = LORA_CARD.format(seed=seed, steps=steps, planned=planned)
    (folder / "README.md").write_text(text, encoding="utf-8")


def export_refiner(runs: Path, folder: Path) -> None:
    """The refiner, of `image_refiner`; what else it needs is the image model's."""
    from starter.training.image_unet import trained

    _, texts, autoencoder = trained(runs)
    denoiser = refiner.unet()
    denoiser.load_state_dict(averaged(runs / "image_refiner", "unet"))
    pipeline = refiner.assemble(denoiser, autoencoder, texts.second)
    limits = (
        "It knows the last third of the noise: a hand-over before 65 % of the steps, or a picture\nthat is changed by "
        "more than 0.35 (`strength`), is beyond it. What it adds is little."
    )
    done = _done(runs, "image_refiner")
    name = "StableDiffusionXLImg2ImgPipeline"
    refiner.save(pipeline, folder, card("refiner", name, refiner.sizes(pipeline), done, limits))


def export_oracle(runs: Path, folder: Path) -> None:
    """The oracle's weights, for the evaluation; no checkpoint."""
    weights = averaged(runs / "oracle", "oracle")
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / WEIGHTS.name)


EXPORTS: dict[str, Callable[[Path, Path], None]] = {
    "image": export_image,
    "refiner": export_refiner,
    "video": export_video,
    "vision": export_vision,
}


def export(name: str, runs: Path, out: Path) -> Path:
    """Writes one checkpoint and replaces what lay there; returns its folder."""
    folder, part = out / name, out / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    EXPORTS[name](runs, part)
    for file in part.rglob("*.safetensors"):
        file.chmod(0o644)
    shutil.rmtree(folder, ignore_errors=True)
    return part.rename(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m starter.training.export", description=__doc__)
    parser.add_argument("model", choices=("oracle", "lora", *EXPORTS))
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--out", type=Path, help="default: starter/checkpoints, and for the oracle training/weights")
    chosen = parser.parse_args(arguments)
    if chosen.model == "oracle":
        export_oracle(chosen.runs, chosen.out or WEIGHTS.parent)
    elif chosen.model == "lora":
        export_lora(chosen.runs, chosen.out or CHECKPOINTS / "image-loras")
    else:
        print(export(chosen.model, chosen.runs, chosen.out or CHECKPOINTS))


if __name__ == "__main__":
    main()
