"""Latents of many images, made once: the denoiser learns from them, and needs no autoencoder while it does."""

import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn

from starter.drawing import draw
from starter.image import LATENT_CHANNELS
from starter.training.images import to_tensor
from starter.world import Scene, scenes

SEED = 18870101
COUNT = 6_222
"""Images: two of each combination that is not held out."""
CHUNK = 32


def training_scenes(count: int = COUNT) -> list[Scene]:
    """What the latents show, in their order."""
    return list(islice(scenes(held=False, seed=SEED), count))


@torch.no_grad()
def means(
    vae: AutoencoderKL, shown: list[Scene], look: Callable[[Image.Image], Image.Image] = lambda image: image
) -> Tensor:
    """float16 [images, channels, 16, 16]: the middle of what the autoencoder says of each.

    Args:
        vae: The autoencoder.
        shown: What is drawn.
        look: What is done to each image before it is encoded.
    """
    found: list[Tensor] = []
    for start in range(0, len(shown), CHUNK):
        pixels = to_tensor(look(draw(scene)) for scene in shown[start : start + CHUNK]).to(vae.device)
        with torch.autocast(pixels.device.type, torch.bfloat16):
            found.append(vae.encode(pixels).latent_dist.mean.half().cpu())
    return torch.cat(found)


@torch.no_grad()
def normalise(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Folds the latents' mean and spread into the autoencoder's own weights, and returns them of mean 0 and spread 1.

    Its encoder's last weights and its decoder's first are a 1x1 convolution each. So the scaling factor is 1, and every
    channel is of the size that the noise schedule assumes.
    """
    values = latents.float()
    mean, spread = values.mean((0, 2, 3)), values.std((0, 2, 3))
    before, after = vae.quant_conv, vae.post_quant_conv
    if not isinstance(before, nn.Conv2d) or not isinstance(after, nn.Conv2d):
        raise TypeError("the autoencoder has no 1x1 convolutions around its latents")
    assert after.bias is not None
    assert before.bias is not None
    after.bias += (after.weight[:, :, 0, 0] * mean.to(after.weight)).sum(1)
    after.weight *= spread.to(after.weight)[None, :, None, None]
    half = slice(0, LATENT_CHANNELS)
    scale = spread.to(before.weight)
    before.weight[half] /= scale[:, None, None, None]
    before.bias[half] = (before.bias[half] - mean.to(before.bias)) / scale
    rest = slice(LATENT_CHANNELS, 2 * LATENT_CHANNELS)  # Logarithms of variances.
    before.bias[rest] -= 2 * scale.log()
    return ((values - mean[None, :, None, None]) / spread[None, :, None, None]).half()


def cached(vae: AutoencoderKL, folder: Path, count: int = COUNT) -> Tensor:
    """The normalised latents, from the folder where they were made before; the autoencoder is normalised in place."""
    path = folder / "latents.pt"
    if path.is_file():
        saved = torch.load(path, weights_only=True)
        vae.load_state_dict(saved["vae"])
        return saved["latents"]
    latents = normalise(vae, means(vae, training_scenes(count)))
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"latents": latents, "vae": vae.state_dict()}, path)
    return latents


def shuffled(count: int, batch: int, step: int, seed: int) -> list[int]:
    """The indices of a step's batch, where every epoch takes all in a new order."""
    per_epoch = count // batch
    epoch, place = divmod(step, max(1, per_epoch))
    order = list(range(count))
    random.Random(seed + epoch).shuffle(order)  # noqa: S311
    return order[place * batch : (place + 1) * batch]
