"""The second half of the video model's autoencoder, trained on while its first half stays as it is.

The denoiser learns latents, which only the first half makes; so both can go on side by side. Here it sees whole
images: in the crops of `video_vae` most places are near an edge, and in a clip few are.
"""

import random
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from starter.training.image_vae import image_loss
from starter.training.images import drawn, random_scenes
from starter.training.loop import Stage, averaged
from starter.training.video_vae import CHANGE_WEIGHT, SQUARE_WEIGHT, random_clips
from starter.video import vae

STILLS, FILMS = 8, 1
"""A batch: of single images, or of clips."""
STILL_EVERY = 4
"""How often a batch is of single images."""
ENDS_WEIGHT = 1.0
"""Of a clip's first and last frame, counted once more: keyframes are there, and they are what people compare."""


class VideoDecoder(Stage):
    """Trains on clips and single images that are drawn as they are needed."""

    name = "video_decoder"
    seed = 18800505
    steps = 3000
    rate = 2e-4
    matrix_rate = 0.004
    """A fifth of what a stage begins with that has everything to learn: the full rates threw its images back to where
    `video_vae` had them after a third of its steps."""

    def __init__(self, runs: Path) -> None:
        """Begins with the weights of `video_vae`."""
        self.vae = vae()
        self.vae.load_state_dict(averaged(runs / "video_vae", "vae"))
        self.vae.encoder.requires_grad_(requires_grad=False)

    def parts(self) -> Mapping[str, nn.Module]:
        """See `Stage.parts`."""
        return {"decoder": self.vae.decoder}

    def loss(self, step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """See `Stage.loss`."""
        still = step % STILL_EVERY == 0
        true = drawn(random_scenes(STILLS, rng))[:, :, None] if still else random_clips(FILMS, rng)
        device = self.vae.decoder.conv_in.conv.weight.device
        true = true.to(device)
        self.vae.encoder.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                latents = self.vae.encode(true).latent_dist.sample()
            made = self.vae.decode(latents).sample.float()
        error = (made - true).square().mean()
        loss = image_loss(made, true) + SQUARE_WEIGHT * error
        figures = {"picture": loss.item(), "error": error.item(), "ends": error.item()}
        if not still:
            loss = loss + CHANGE_WEIGHT * (made.diff(dim=2) - true.diff(dim=2)).abs().mean()
            mine, yours = made[:, :, [0, -1]], true[:, :, [0, -1]]
            ends = (mine - yours).square().mean()
            loss = loss + ENDS_WEIGHT * (image_loss(mine, yours) + SQUARE_WEIGHT * ends)
            figures["ends"] = ends.item()
        return loss, figures
