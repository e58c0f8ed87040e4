"""A LoRA for the image model: the same world as an old print, brown ink on yellow paper."""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from PIL import Image, ImageOps
from torch import nn

from starter.image import scheduler
from starter.training.image_latents import means, training_scenes
from starter.training.image_unet import ImageUnet, trained

RANK = 8
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "conv1", "conv2")
"""Convolutions too: colours are made in them."""
PAPER, MIDDLE, INK = (246, 230, 186), (176, 120, 62), (58, 32, 20)


def old_print(image: Image.Image) -> Image.Image:
    """The image in one ink."""
    return ImageOps.colorize(image.convert("L"), black=INK, mid=MIDDLE, white=PAPER)


class ImageLora(ImageUnet):
    """Trains small additions to the trained denoiser, on prints instead of images."""

    name = "image_lora"
    seed = 18780619
    steps = 200
    matrix_rate = 0.01

    def __init__(self, runs: Path, count: int = 768) -> None:
        """Additions that change nothing yet, to the denoiser that was trained before.

        Args:
            runs: The folder of the runs.
            count: How many prints to learn from.
        """
        self.unet, self.texts, autoencoder = trained(runs)
        self._scenes = training_scenes(count)
        path = runs / self.name / "latents.pt"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(means(autoencoder, self._scenes, old_print), path)
        self.latents = torch.load(path, weights_only=True)
        self._alphas = scheduler().alphas_cumprod
        torch.manual_seed(self.seed)
        self.unet.requires_grad_(False)
        self.texts.requires_grad_(False)
        self.unet.set_attn_processor(AttnProcessor())
        self.unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(TARGETS)))

    def warm(self, checkpoints: Path) -> None:
        """It is short: it begins again."""
        raise NotImplementedError("a LoRA is trained whole")

    def parts(self) -> Mapping[str, nn.Module]:
        """See `Stage.parts`."""
        return {"unet": self.unet}
