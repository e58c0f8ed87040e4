"""Images of the world as tensors."""

import random
from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from starter.drawing import draw
from starter.world import Scene, jittered, split


def random_scenes(count: int, rng: random.Random, *, held: bool = False) -> list[Scene]:
    """This many scenes of one side of the split, by chance."""
    pool = split(held)
    return [jittered(rng.choice(pool), rng) for _ in range(count)]


def to_tensor(images: Iterable[Image.Image]) -> Tensor:
    """float32 [batch, 3, height, width], -1..1."""
    pixels = np.stack([np.asarray(image, dtype=np.uint8) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_images(pixels: Tensor) -> list[Image.Image]:
    """The other way round."""
    array = pixels.detach().float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(image) for image in array]


def drawn(scenes: Iterable[Scene]) -> Tensor:
    """The scenes' images as one batch."""
    return to_tensor(draw(scene) for scene in scenes)


def sheet(images: list[Image.Image], columns: int) -> Image.Image:
    """A contact sheet."""
    width, height = images[0].size
    rows = -(-len(images) // columns)
    whole = Image.new("RGB", (columns * (width + 4) - 4, rows * (height + 4) - 4), "white")
    for index, image in enumerate(images):
        whole.paste(image, (index % columns * (width + 4), index // columns * (height + 4)))
    return whole
