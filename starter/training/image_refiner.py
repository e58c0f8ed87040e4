"""The refiner's denoiser: the last third of the noise, and what is sharp and what is soft."""

import random
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from starter.captions import caption
from starter.image import TEXT_WIDTH, scheduler
from starter.refiner import unet
from starter.training.image_latents import means, shuffled, training_scenes
from starter.training.image_unet import BATCH, NO_TEXT, STRAY, trained
from starter.training.loop import Stage
from starter.world import SIZE

LEVELS = 350
"""Of the 1,000 levels of noise, those that it learns; it is meant to take over for the last 200 (0.8 in diffusers)."""
SHARP, SOFT = 6.0, 2.5
"""Scores of beauty: diffusers' own for what is wanted, and for what guidance leads away from."""
SOFT_SHARE = 0.25
"""Of a batch."""


def blurred(image: Image.Image) -> Image.Image:
    """The image as a weak model draws it: outlines washed out."""
    return image.resize((48, 48), Image.Resampling.BOX).resize((SIZE, SIZE), Image.Resampling.BILINEAR)


def copy_matching_weights(made: UNet2DConditionModel, other: UNet2DConditionModel) -> None:
    """Takes the weights of the image model's denoiser that have a place here; the readings of the second text encoder.

    Here is one level less: what lies above the lowest bears a lower number on the way up.
    """
    mine, theirs = made.state_dict(), other.state_dict()
    for name, weight in mine.items():
        above = name
        for number in (0, 1):
            if name.startswith(f"up_blocks.{number}."):
                above = name.replace(f"up_blocks.{number}.", f"up_blocks.{number + 1}.", 1)
        found = theirs.get(above)
        if found is None:
            continue
        if "attn2.to_k" in name or "attn2.to_v" in name:
            found = found[:, TEXT_WIDTH:]
        if found.shape == weight.shape:
            mine[name] = found
    made.load_state_dict(mine)


class ImageRefiner(Stage):
    """Trains the refiner's denoiser on images of two scores: sharp ones, and some that were softened."""

    name = "image_refiner"
    seed = 18870611
    steps = 500
    matrix_rate = 0.01

    def __init__(self, runs: Path, count: int = 3_111) -> None:
        """As much of the image model's denoiser as fits; its autoencoder and text encoder stay as they are.

        Args:
            runs: The folder of the runs.
            count: How many images to learn from; half as many are there softened too.
        """
        denoiser, self.texts, autoencoder = trained(runs)
        self._scenes = training_scenes(count)
        path = runs / self.name / "latents.pt"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            soft = means(autoencoder, self._scenes[: count // 2], blurred)
            torch.save({"sharp": means(autoencoder, self._scenes), "soft": soft}, path)
        self.latents = torch.load(path, weights_only=True)
        torch.manual_seed(self.seed)
        self.unet = unet()
        copy_matching_weights(self.unet, denoiser)
        self.unet.set_attn_processor(AttnProcessor())
        self.texts.requires_grad_(False)
        self._alphas = scheduler().alphas_cumprod

    def parts(self) -> Mapping[str, nn.Module]:
        """See `Stage.parts`."""
        return {"unet": self.unet}

    def loss(self, step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """See `Stage.loss`."""
        device = self.unet.device
        sharp, soft = self.latents["sharp"], self.latents["soft"]
        picked = shuffled(len(sharp), min(BATCH, len(sharp)), step, self.seed)
        blurred = [index < len(soft) and rng.random() < 2 * SOFT_SHARE for index in picked]
        clean = torch.stack([(soft if flag else sharp)[i] for i, flag in zip(picked, blurred, strict=True)])
        clean = clean.float().to(device)
        words = [rng.choice(STRAY) if rng.random() < 0.03 else caption(self._scenes[i], rng).text for i in picked]
        times = torch.randint(0, LEVELS, (len(picked),))
        alphas = self._alphas[times].view(-1, 1, 1, 1).to(device)
        noise = torch.randn_like(clean)
        noisy = alphas.sqrt() * clean + (1 - alphas).sqrt() * noise
        velocity = alphas.sqrt() * noise - (1 - alphas).sqrt() * clean
        sizes = [[SIZE, SIZE, 0, 0, SOFT if flag else SHARP] for flag in blurred]
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                tokens, pooled = self.texts.to(device)(words)
            keep = torch.tensor([float(rng.random() >= NO_TEXT) for _ in picked], device=device)
            conditions = {"text_embeds": pooled * keep[:, None], "time_ids": torch.tensor(sizes, device=device)}
            tokens = tokens[..., TEXT_WIDTH:] * keep[:, None, None]
            made = self.unet(noisy, times.to(device), tokens, added_cond_kwargs=conditions).sample
        loss = functional.mse_loss(made.float(), velocity)
        return loss, {"velocity": loss.item()}
