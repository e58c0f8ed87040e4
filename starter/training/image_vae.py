"""The image model's autoencoder: pictures to latents of an eighth of each side, and back."""

import random
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from starter.image import vae
from starter.training.loop import Stage
from starter.training.pictures import drawn, random_scenes

BATCH = 6
KL_WEIGHT = 1e-4
EDGE_WEIGHT = 1.0


def edges(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbours, across and down."""
    return pixels[..., :, 1:] - pixels[..., :, :-1], pixels[..., 1:, :] - pixels[..., :-1, :]


def picture_loss(made: Tensor, true: Tensor) -> Tensor:
    """Mean distance of pixels, and of edges: outlines, drops and flakes are few pixels, but they are the picture."""
    loss = (made - true).abs().mean()
    for mine, yours in zip(edges(made), edges(true), strict=True):
        loss = loss + EDGE_WEIGHT * (mine - yours).abs().mean()
    return loss


class ImageVae(Stage):
    """Trains on pictures that are drawn as they are needed."""

    name = "image_vae"
    seed = 18780615
    steps = 3500
    rate = 2e-3

    def __init__(self) -> None:
        """Fresh weights."""
        torch.manual_seed(self.seed)
        self.vae = vae()

    def parts(self) -> Mapping[str, nn.Module]:
        """See `Stage.parts`."""
        return {"vae": self.vae}

    def loss(self, step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """See `Stage.loss`."""
        true = drawn(random_scenes(BATCH, rng)).to(self.vae.device)
        with torch.autocast(true.device.type, torch.bfloat16):
            found = self.vae.encode(true).latent_dist
            made = self.vae.decode(found.sample()).sample
        picture = picture_loss(made.float(), true)
        spread = found.kl().float().mean() / found.mean[0].numel()
        return picture + KL_WEIGHT * spread, {"picture": picture.item(), "kl": spread.item()}
