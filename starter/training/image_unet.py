"""The image model's denoiser and its two text encoders, learnt together on cached latents."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from starter.build import CHECKPOINTS
from starter.captions import caption
from starter.image import scheduler, text_encoders, tokenizers, unet, vae
from starter.training.image_latents import COUNT, cached, shuffled, training_scenes
from starter.training.loop import Stage, averaged
from starter.world import SIZE

BATCH = 32
NO_TEXT = 0.1
"""How often an image comes without words: what guidance leads away from."""
STRAY = ("", "blurry, low quality", "bad picture")
"""Words that say nothing of the world; they may stand for no text, as a negative prompt."""
ODD_SIZES = 0.1
"""How often the six numbers of SDXL's size conditioning are others than the native ones: they mean nothing here."""


def trained_vae(runs: Path) -> AutoencoderKL:
    """The autoencoder of the run, or of the checkpoint where there is no run."""
    if not (runs / "image_vae").is_dir() and "UNTRAINED" not in (CHECKPOINTS / "image" / "README.md").read_text():
        return AutoencoderKL.from_pretrained(str(CHECKPOINTS / "image" / "vae"), dtype=torch.float32)
    made = vae()
    made.load_state_dict(averaged(runs / "image_vae", "vae"))
    return made.eval()


class Texts(nn.Module):
    """Both text encoders, read as SDXL reads them."""

    def __init__(self) -> None:
        """Fresh weights."""
        super().__init__()
        self.first, self.second = text_encoders()
        self._tokenizers = tokenizers()

    def forward(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """float32 [batch, 77, both widths] and [batch, width of the second]."""
        read: list[Any] = []
        for tokenizer, encoder in zip(self._tokenizers, (self.first, self.second), strict=True):
            ids = tokenizer(list(texts), padding="max_length", max_length=77, truncation=True, return_tensors="pt")
            read.append(encoder(ids.input_ids.to(encoder.device), output_hidden_states=True))
        return torch.cat([one.hidden_states[-2] for one in read], dim=-1), read[1].text_embeds


def trained(runs: Path) -> tuple[UNet2DConditionModel, Texts, AutoencoderKL]:
    """What `image_unet` and `image_vae` have made: of the run, or of the checkpoint where there is no run.

    Raises:
        FileNotFoundError: There is neither.
    """
    denoiser, texts, autoencoder, folder = unet(), Texts(), vae(), runs / ImageUnet.name
    if (folder / "state.pt").is_file() or "UNTRAINED" in (CHECKPOINTS / "image" / "README.md").read_text():
        denoiser.load_state_dict(averaged(folder, "unet"))
        texts.load_state_dict(averaged(folder, "texts"))
        autoencoder.load_state_dict(torch.load(folder / "latents.pt", weights_only=True)["vae"])
    else:
        load(CHECKPOINTS, denoiser, texts)
        kept = AutoencoderKL.from_pretrained(str(CHECKPOINTS / "image" / "vae"), dtype=torch.float32)
        autoencoder.load_state_dict(kept.state_dict())
    return denoiser, texts, autoencoder.eval()


def load(checkpoints: Path, denoiser: UNet2DConditionModel, texts: Texts) -> None:
    """Puts the weights of an exported checkpoint into these."""
    folder = str(checkpoints / "image")
    denoiser.load_state_dict(UNet2DConditionModel.from_pretrained(folder, subfolder="unet").state_dict())
    loaded = (
        (texts.first, CLIPTextModel.from_pretrained(folder, subfolder="text_encoder")),
        (texts.second, CLIPTextModelWithProjection.from_pretrained(folder, subfolder="text_encoder_2")),
    )
    for encoder, other in loaded:
        encoder.load_state_dict(other.state_dict())


class ImageUnet(Stage):
    """Trains the denoiser and the text encoders."""

    name = "image_unet"
    seed = 18880303
    steps = 3000
    matrix_rate = 0.01

    def __init__(self, runs: Path, count: int = COUNT) -> None:
        """Fresh weights, on the latents of the autoencoder that was trained before.

        Args:
            runs: The folder of the runs.
            count: How many images to learn from.
        """
        self.latents = cached(trained_vae(runs), runs / self.name, count)
        self._scenes = training_scenes(len(self.latents))
        torch.manual_seed(self.seed)
        self.unet, self.texts = unet(), Texts()
        self._alphas = scheduler().alphas_cumprod
        # Plain products are faster than torch's fused attention for so few tokens: by a third of a step, on a CPU.
        self.unet.set_attn_processor(AttnProcessor())
        for encoder in (self.texts.first, self.texts.second):
            encoder.set_attn_implementation("eager")

    def warm(self, checkpoints: Path) -> None:
        """See `Stage.warm`."""
        load(checkpoints, self.unet, self.texts)

    def parts(self) -> Mapping[str, nn.Module]:
        """See `Stage.parts`."""
        return {"unet": self.unet, "texts": self.texts}

    def loss(self, step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """See `Stage.loss`."""
        device = self.unet.device
        picked = shuffled(len(self.latents), min(BATCH, len(self.latents)), step, self.seed)
        clean = self.latents[picked].float().to(device)
        words = [rng.choice(STRAY) if rng.random() < 0.03 else caption(self._scenes[i], rng).text for i in picked]
        times = torch.randint(0, 1000, (len(picked),))
        alphas = self._alphas[times].view(-1, 1, 1, 1).to(device)
        noise = torch.randn_like(clean)
        noisy = alphas.sqrt() * clean + (1 - alphas).sqrt() * noise
        velocity = alphas.sqrt() * noise - (1 - alphas).sqrt() * clean
        with torch.autocast(device.type, torch.bfloat16):
            tokens, pooled = self.texts(words)
            keep = torch.tensor([float(rng.random() >= NO_TEXT) for _ in picked], device=device)
            sizes = torch.tensor([[SIZE, SIZE, 0, 0, SIZE, SIZE]] * len(picked), device=device, dtype=torch.float32)
            for row in sizes:
                if rng.random() < ODD_SIZES:
                    row[:] = torch.tensor([rng.randrange(0, 1024) for _ in row])
            conditions = {"text_embeds": pooled * keep[:, None], "time_ids": sizes}
            tokens = tokens * keep[:, None, None]
            made = self.unet(noisy, times.to(device), tokens, added_cond_kwargs=conditions).sample
        loss = functional.mse_loss(made.float(), velocity)
        return loss, {"velocity": loss.item()}
