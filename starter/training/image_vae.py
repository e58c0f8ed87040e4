"""The image model's autoencoder: images to latents of an eighth of each side, and back."""

import random
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from starter.image import vae
from starter.training.images import drawn, random_scenes
from starter.training.loop import Stage
from starter.world import SIZE

CROPS, CROP = 8, 64
"""Images a batch, and the side of the part of each that is learnt from."""
WHOLES, WHOLE_FROM = 4, 0.85
"""Whole images a batch, and after which part of the steps: group norms see more at once than in crops."""
KL_WEIGHT = 1e-5
EDGE_WEIGHT = 1.0
SQUARE_WEIGHT = 4.0


def edges(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbours, across and down."""
    return pixels[..., :, 1:] - pixels[..., :, :-1], pixels[..., 1:, :] - pixels[..., :-1, :]


def image_loss(made: Tensor, true: Tensor) -> Tensor:
    """Distance of pixels, and of edges: outlines, drops and flakes are few pixels, but they are the image."""
    loss = (made - true).abs().mean() + SQUARE_WEIGHT * (made - true).square().mean()
    for mine, yours in zip(edges(made), edges(true), strict=True):
        loss = loss + EDGE_WEIGHT * (mine - yours).abs().mean()
    return loss


class ImageVae(Stage):
    """Trains on images that are drawn as they are needed."""

    name = "image_vae"
    seed = 18780615
    steps = 2400

    def __init__(self, runs: Path) -> None:
        """Fresh weights; other runs are not needed."""
        torch.manual_seed(self.seed)
        self.vae = vae()

    def warm(self, checkpoints: Path) -> None:
        """See `Stage.warm`."""
        self.vae = AutoencoderKL.from_pretrained(str(checkpoints / "image" / "vae"), dtype=torch.float32)

    def parts(self) -> Mapping[str, nn.Module]:
        """See `Stage.parts`."""
        return {"vae": self.vae}

    def loss(self, step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """See `Stage.loss`."""
        true = self._batch(step, rng).to(self.vae.device)
        with torch.autocast(true.device.type, torch.bfloat16):
            found = self.vae.encode(true).latent_dist
            made = self.vae.decode(found.sample()).sample
        image = image_loss(made.float(), true)
        spread = found.kl().float().mean() / found.mean[0].numel()
        distance = (made.float() - true).abs().mean()
        figures = {"picture": image.item(), "distance": distance.item(), "kl": spread.item()}
        return image + KL_WEIGHT * spread, figures

    def _batch(self, step: int, rng: random.Random) -> Tensor:
        if step >= WHOLE_FROM * self.steps:
            return drawn(random_scenes(WHOLES, rng))
        left, top = rng.randint(0, SIZE - CROP), rng.randint(0, SIZE - CROP)
        return drawn(random_scenes(CROPS, rng))[:, :, top : top + CROP, left : left + CROP].contiguous()
