"""The video model's autoencoder: clips to latents of a 16th of each side and a quarter of the frames, and back."""

import random
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKLLTXVideo
from torch import Tensor, nn

from starter.clips import FRAMES, MOTIONS, frame, frames, make_clip
from starter.training.image_vae import image_loss
from starter.training.images import drawn, random_scenes, to_tensor
from starter.training.loop import Stage
from starter.video import vae
from starter.world import SIZE

STILLS, PIECES, FILMS = 16, 8, 4
"""Crops a batch: of single images, of pieces of clips, and of whole ones."""
CROP = 64
"""Their side. All norms here are of one place, so a crop teaches what the whole would."""
PIECE = 9
"""Frames of a piece: more clips for the same work, and more ends, which keyframes are."""
STILL_UNTIL, STILL_EVERY = 0.4, 4
"""For which part of the steps it sees single images only, which cost little; and how often a batch is of them later:
keyframes are latents of one image."""
WHOLE_FROM = 0.8
"""After which part of the steps clips are whole."""
KL_WEIGHT = 1e-5
CHANGE_WEIGHT = 1.0
SQUARE_WEIGHT = 12.0
"""Of the squared distance: what peak signal-to-noise ratios count."""


def random_clips(count: int, rng: random.Random) -> Tensor:
    """Clips by chance: float32 [clips, 3, 25, 128, 128], -1..1."""
    made = [frames(make_clip(scene, rng.choice(MOTIONS))) for scene in random_scenes(count, rng)]
    return torch.stack([to_tensor(clip).transpose(0, 1) for clip in made])


def pieces(count: int, rng: random.Random) -> Tensor:
    """Pieces of clips by chance: float32 [pieces, 3, 9, 128, 128], -1..1."""
    made: list[Tensor] = []
    for scene in random_scenes(count, rng):
        clip, begin = make_clip(scene, rng.choice(MOTIONS)), rng.randint(0, FRAMES - PIECE)
        shown = [frame(clip, index / (FRAMES - 1)) for index in range(begin, begin + PIECE)]
        made.append(to_tensor(shown).transpose(0, 1))
    return torch.stack(made)


class VideoVae(Stage):
    """Trains on clips and single images that are drawn as they are needed."""

    name = "video_vae"
    seed = 18800504
    steps = 12_000
    matrix_rate = 0.03

    def __init__(self, runs: Path) -> None:
        """Fresh weights; other runs are not needed."""
        torch.manual_seed(self.seed)
        self.vae = vae()

    def warm(self, checkpoints: Path) -> None:
        """See `Stage.warm`."""
        folder = str(checkpoints / "video" / "vae")
        self.vae = AutoencoderKLLTXVideo.from_pretrained(folder, dtype=torch.float32)

    def parts(self) -> Mapping[str, nn.Module]:
        """See `Stage.parts`."""
        return {"vae": self.vae}

    def matrices(self) -> Mapping[str, bool]:
        """See `Stage.matrices`. The ends are Muon's here: they make 768 numbers of a patch one place, and back."""
        return {"": True}

    def loss(self, step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """See `Stage.loss`."""
        still = step < STILL_UNTIL * self.steps or step % STILL_EVERY == 0
        if still:
            true = drawn(random_scenes(STILLS, rng))[:, :, None]
        else:
            true = random_clips(FILMS, rng) if step >= WHOLE_FROM * self.steps else pieces(PIECES, rng)
        left, top = rng.randint(0, SIZE - CROP), rng.randint(0, SIZE - CROP)
        true = true[..., top : top + CROP, left : left + CROP].to(self.vae.device)
        with torch.autocast(true.device.type, torch.bfloat16):
            found = self.vae.encode(true).latent_dist
            made = self.vae.decode(found.sample()).sample.float()
        loss = image_loss(made, true) + SQUARE_WEIGHT * (made - true).square().mean()
        if not still:  # What moves is little of the image, and all of the clip.
            loss = loss + CHANGE_WEIGHT * (made.diff(dim=2) - true.diff(dim=2)).abs().mean()
        # LTX writes one logarithm of the variance for all channels, so the spread is counted by hand.
        mean, logvar = found.mean.float(), found.logvar.float()
        spread = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        distance = (made - true).abs().mean().item()
        return loss + KL_WEIGHT * spread, {"picture": loss.item(), "distance": distance, "kl": spread.item()}
