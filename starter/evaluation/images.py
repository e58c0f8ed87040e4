"""How often the image model draws what it was asked for, as the oracle reads its images."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image
from torch import Tensor
from torch.nn import functional

from starter.captions import caption
from starter.drawing import draw
from starter.training.image_latents import training_scenes
from starter.training.images import drawn, random_scenes, to_tensor
from starter.training.oracle import load_oracle
from starter.world import ATTRIBUTES, SIZE, Scene

STEPS, GUIDANCE = 25, 3.0
BATCH = 10
SEED = 77
COPIED_DB = 30.0
"""From this likeness to a training image on (PSNR), a drawn one counts as a copy."""


def generate_all(pipeline: StableDiffusionXLPipeline, prompts: list[str]) -> list[Image.Image]:
    """One image of each prompt."""
    made: list[Image.Image] = []
    for start in range(0, len(prompts), BATCH):
        some = prompts[start : start + BATCH]
        chance = [torch.Generator().manual_seed(SEED + start + index) for index in range(len(some))]
        options = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "width": SIZE, "height": SIZE}
        made += pipeline(prompt=some, generator=chance, **options).images  # pyright: ignore
    return made


def measure(checkpoint: Path, count: int) -> tuple[dict[str, str], list[tuple[Scene, Image.Image]]]:
    """The figures by name, and the images that they were measured on.

    Args:
        checkpoint: The folder of the image model.
        count: Prompts; each tells all five attributes of a held-out combination.
    """
    pipeline = StableDiffusionXLPipeline.from_pretrained(
        str(checkpoint), dtype=torch.float32, local_files_only=True, add_watermarker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    rng = random.Random(SEED)  # noqa: S311
    asked = random_scenes(count, rng, held=True)
    made = generate_all(pipeline, [caption(scene, rng, {}).text for scene in asked])
    oracle = load_oracle()
    truth = oracle.read(list(made))
    right = [
        {name: read[name] == getattr(scene, name) for name in ATTRIBUTES}
        for scene, read in zip(asked, truth, strict=True)
    ]
    figures = {f"{name} right": share([one[name] for one in right]) for name in ATTRIBUTES}
    figures["all five right"] = share([all(one.values()) for one in right])
    closest = nearest(to_tensor(made), training_scenes())
    figures["copies of training pictures"] = share([one >= COPIED_DB for one in closest])
    figures["likeness to the nearest training picture, at most"] = f"{max(closest):.1f} dB"
    drawn_again = oracle.read([draw(scene) for scene in asked])
    figures["the oracle itself, on drawn scenes"] = share(
        [
            all(read[name] == getattr(scene, name) for name in ATTRIBUTES)
            for scene, read in zip(asked, drawn_again, strict=True)
        ]
    )
    return figures, list(zip(asked, made, strict=True))


def share(flags: list[bool]) -> str:
    """The true ones, in words."""
    return f"{100 * sum(flags) / len(flags):.1f} % of {len(flags)}"


def nearest(images: Tensor, learnt: Sequence[Scene]) -> list[float]:
    """The PSNR of each image to the likest of the learnt ones, both at a quarter of their size."""
    best = torch.full((len(images),), float("inf"))
    small = functional.interpolate(images, size=(32, 32), mode="area").flatten(1)
    for start in range(0, len(learnt), 128):
        chunk = functional.interpolate(drawn(learnt[start : start + 128]), size=(32, 32), mode="area").flatten(1)
        best = torch.minimum(best, torch.cdist(small, chunk).square().min(1).values / small.shape[1])
    return (-10 * torch.log10(best / 4)).tolist()
