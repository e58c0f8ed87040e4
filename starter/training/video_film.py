"""The video model's denoiser and its text encoder, learnt together on cached latents of clips."""

import random
import warnings
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import torch
from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel
from torch import Tensor, nn
from transformers import T5EncoderModel

from starter.clips import FRAMES, MOTIONS, Clip, frames, make_clip
from starter.training.image_latents import shuffled
from starter.training.image_unet import NO_TEXT, STRAY
from starter.training.images import to_tensor
from starter.training.loop import Stage, averaged
from starter.video import text_encoder, transformer, vae
from starter.words import t5_tokenizer
from starter.world import scenes

BATCH = 8
COUNT = 2_080
"""Clips."""
SEED = 18870607
SPACE, TIME = 16, 4
"""What a latent stands for: pixels a side, and frames."""
KEYFRAME_NOISE = 0.025
"""Of `adapters.video.diffusers_video`: noise on keyframes while they guide."""
MODES = ("text", "first", "first", "both")
"""Which keyframes a batch has; most clips begin with one, and words decide how they go on."""


def training_clips(count: int = COUNT) -> list[Clip]:
    """What the latents show, in their order."""
    rng = random.Random(SEED)  # noqa: S311
    return [make_clip(scene, rng.choice(MOTIONS)) for scene in islice(scenes(held=False, seed=SEED), count)]


def packed(latents: Tensor) -> Tensor:
    """[batch, channels, frames, height, width] to tokens [batch, frames * height * width, channels]."""
    return latents.permute(0, 2, 3, 4, 1).flatten(1, 3)


def coordinates(latent_frames: int, side: int, first_frame: int = 0) -> Tensor:
    """Where each token lies: float32 [3, tokens], in frames and pixels, as `LTXConditionPipeline` counts."""
    axes = torch.arange(latent_frames), torch.arange(side), torch.arange(side)
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1).float()
    grid[0] = (grid[0] * TIME + 1 - TIME).clamp(min=0) + first_frame
    grid[1:] *= SPACE
    return grid


@torch.no_grad()
def encoded(autoencoder: AutoencoderKLLTXVideo, clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """float16 latents of the clips, and of their last frames alone."""
    whole: list[Tensor] = []
    last: list[Tensor] = []
    for clip in clips:
        pixels = to_tensor(frames(clip)).transpose(0, 1)[None].to(autoencoder.device)
        with torch.autocast(pixels.device.type, torch.bfloat16):
            whole.append(autoencoder.encode(pixels).latent_dist.mean.half().cpu())
            last.append(autoencoder.encode(pixels[:, :, -1:]).latent_dist.mean.half().cpu())
    return torch.cat(whole), torch.cat(last)


def normalised_vae(runs: Path) -> AutoencoderKLLTXVideo:
    """The trained autoencoder; `cached` puts its latents' mean and spread into its buffers."""
    autoencoder = vae()
    autoencoder.load_state_dict(averaged(runs / "video_vae", "vae"))
    return autoencoder.eval()


def cached(runs: Path, folder: Path, count: int) -> dict[str, Tensor]:
    """`whole`, `last`, `mean` and `std`, from the folder where they were made before."""
    path = folder / "latents.pt"
    if not path.is_file():
        whole, last = encoded(normalised_vae(runs), training_clips(count))
        mean, std = whole.float().mean((0, 2, 3, 4)), whole.float().std((0, 2, 3, 4))
        scaled = [
            ((one.float() - mean.view(1, -1, 1, 1, 1)) / std.view(1, -1, 1, 1, 1)).half() for one in (whole, last)
        ]
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({"whole": scaled[0], "last": scaled[1], "mean": mean, "std": std}, path)
    return torch.load(path, weights_only=True)


class VideoFilm(Stage):
    """Trains the denoiser and the text encoder by flow matching (https://arxiv.org/abs/2210.02747)."""

    name = "video_film"
    seed = 18870606
    steps = 12_000

    def __init__(self, runs: Path, count: int = COUNT) -> None:
        """Fresh weights, on the latents of the autoencoder that was trained before."""
        self.latents = cached(runs, runs / self.name, count)
        self._clips = training_clips(len(self.latents["whole"]))
        self._tokenizer = t5_tokenizer()
        torch.manual_seed(self.seed)
        self.transformer, self.text = transformer(), text_encoder(self._tokenizer)

    def warm(self, checkpoints: Path) -> None:
        """See `Stage.warm`. Weights of other shapes, as those of another autoencoder's latents, stay fresh."""
        folder = str(checkpoints / "video")
        loaded = LTXVideoTransformer3DModel.from_pretrained(folder, subfolder="transformer")
        mine = self.transformer.state_dict()
        fitting = {name: one for name, one in loaded.state_dict().items() if one.shape == mine[name].shape}
        self.transformer.load_state_dict({**mine, **fitting})
        self.text.load_state_dict(T5EncoderModel.from_pretrained(folder, subfolder="text_encoder").state_dict())

    def parts(self) -> Mapping[str, nn.Module]:
        """See `Stage.parts`."""
        return {"transformer": self.transformer, "text": self.text}

    def loss(self, step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """See `Stage.loss`."""
        device = self.transformer.device
        count = len(self._clips)
        picked = shuffled(count, min(BATCH, count), step, self.seed)
        mode = rng.choice(MODES)
        clean = packed(self.latents["whole"][picked].float())
        side = self.latents["whole"].shape[-1]
        where = coordinates(self.latents["whole"].shape[2], side)
        fixed = torch.zeros(clean.shape[:2], dtype=torch.bool)
        if mode != "text":
            fixed[:, : side * side] = True
        if mode == "both":
            last = packed(self.latents["last"][picked].float())
            clean = torch.cat([last, clean], dim=1)
            fixed = torch.cat([torch.ones(last.shape[:2], dtype=torch.bool), fixed], dim=1)
            where = torch.cat([coordinates(1, side, FRAMES - 1), where], dim=1)
        level = torch.rand(len(picked), 1)
        noise = torch.randn_like(clean)
        noisy = (1 - level[..., None]) * clean + level[..., None] * noise
        kept = clean + KEYFRAME_NOISE * noise * level[..., None] ** 2
        noisy = torch.where(fixed[..., None], kept, noisy).to(device)
        times = torch.where(fixed, torch.zeros(()), level * 1000).to(device)
        fps = torch.tensor([rng.choice((24.0, 24.0, 24.0, 8.0, 12.0, 30.0)) for _ in picked])
        where = where.expand(len(picked), -1, -1).clone()
        where[:, 0] /= fps[:, None]
        words = [rng.choice(STRAY) if rng.random() < NO_TEXT else self._clips[index].text(rng) for index in picked]
        read = self._tokenizer(words, padding="longest", return_tensors="pt")
        mask = read.attention_mask.bool().to(device)
        with warnings.catch_warnings(), torch.autocast(device.type, torch.bfloat16):
            # Its norms keep float32 weights beside bfloat16 inputs, which is meant.
            warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight", category=UserWarning)
            tokens = self.text(read.input_ids.to(device), attention_mask=mask).last_hidden_state
            made = self.transformer(
                hidden_states=noisy,
                encoder_hidden_states=tokens,
                timestep=times,
                encoder_attention_mask=mask,
                video_coords=where.to(device),
            ).sample.float()
        free = (~fixed).to(device)[..., None]
        error = (made - (noise - clean).to(device)).square() * free
        loss = error.sum() / (free.sum() * error.shape[-1])
        return loss, {"velocity": loss.item()}
