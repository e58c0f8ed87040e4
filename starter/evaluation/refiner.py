"""What the refiner makes of the image model's images: whether they stay right, and how sharp they are."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image

from starter.captions import caption
from starter.drawing import draw
from starter.evaluation.images import GUIDANCE, STEPS, share
from starter.training.image_vae import edges
from starter.training.images import random_scenes, to_tensor
from starter.training.oracle import load_oracle
from starter.world import ATTRIBUTES, SIZE

HANDOVER = 0.8
"""The part of the steps that the image model does, as SDXL's refiner takes over."""
BATCH = 10
SEED = 80


def sharpness(images: Sequence[Image.Image]) -> float:
    """The mean distance of neighbouring pixels, of values of 0..2."""
    return sum(difference.abs().mean().item() for difference in edges(to_tensor(images))) / 2


def measure(checkpoint: Path, base: Path, count: int) -> tuple[dict[str, str], list[Image.Image]]:
    """The figures by name, and pairs of images: unrefined, refined.

    Args:
        checkpoint: The folder of the refiner.
        base: That of the image model.
        count: Images; of held-out scenes.
    """
    options: dict[str, Any] = {"dtype": torch.float32, "local_files_only": True, "add_watermarker": False}
    first = StableDiffusionXLPipeline.from_pretrained(str(base), **options)
    second = StableDiffusionXLImg2ImgPipeline.from_pretrained(str(checkpoint), **options)
    for pipeline in (first, second):
        pipeline.set_progress_bar_config(disable=True)
    rng = random.Random(SEED)  # noqa: S311
    asked = random_scenes(count, rng, held=True)
    prompts = [caption(scene, rng, {}).text for scene in asked]
    plain: list[Image.Image] = []
    refined: list[Image.Image] = []
    for start in range(0, count, BATCH):
        some = prompts[start : start + BATCH]
        common = {"prompt": some, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
        sizes = {"width": SIZE, "height": SIZE}

        def chance(start: int = start, some: Sequence[str] = some) -> list[torch.Generator]:
            return [torch.Generator().manual_seed(SEED + start + index) for index in range(len(some))]

        whole: Any = first(**common, **sizes, generator=chance())  # pyright: ignore
        handed: Any = first(**common, **sizes, generator=chance(), denoising_end=HANDOVER, output_type="latent")  # pyright: ignore
        # `image` is for pixels and for latents of four channels, as SDXL's own are.
        taken = {"image": torch.zeros(len(some), 3, SIZE, SIZE), "latents": handed.images}
        ended: Any = second(**common, **taken, generator=chance(), denoising_start=HANDOVER)  # pyright: ignore
        plain += whole.images
        refined += ended.images
    oracle = load_oracle()
    drawn = sharpness([draw(scene) for scene in asked])
    figures: dict[str, str] = {}
    for name, images in (("with it", refined), ("without it", plain)):
        read = oracle.read(images)
        right = [
            all(one[attribute] == getattr(scene, attribute) for attribute in ATTRIBUTES)
            for scene, one in zip(asked, read, strict=True)
        ]
        figures[f"all five right, {name}"] = share(right)
        figures[f"sharpness, {name}"] = f"{100 * sharpness(images) / drawn:.0f} % of drawn scenes'"
    return figures, [image for pair in zip(plain, refined, strict=True) for image in pair]
