"""The oracle: a small classifier that reads the five attributes from an image, to measure the other models with.

It learns from the renderer alone, never from a model's images; blur, noise and shifted light in its training keep it
right on images that are a little soft.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from starter.training.images import drawn, random_scenes, to_tensor
from starter.training.loop import Stage
from starter.world import ATTRIBUTES, Scene

BATCH = 32
WEIGHTS = Path(__file__).parent / "weights" / "oracle.safetensors"


def block(before: int, after: int) -> nn.Sequential:
    """Halves the sides."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(8, after), nn.ReLU(),
    )  # fmt: skip


class Oracle(nn.Module):
    """Images float32 [batch, 3, 128, 128] of -1..1 to logits, [batch, values] for each attribute."""

    def __init__(self) -> None:
        """Fresh weights."""
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 24, 4, stride=4), nn.ReLU())
        self.body = nn.Sequential(block(24, 64), block(64, 96), block(96, 128))
        self.heads = nn.ModuleDict({name: nn.Linear(128 * 16, len(values)) for name, values in ATTRIBUTES.items()})

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """See the class."""
        seen = self.body(self.first(pixels)).flatten(1)
        return {name: head(seen) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, images: Sequence[Image.Image]) -> list[dict[str, str]]:
        """The most probable attributes of each image."""
        found = self(to_tensor(image.convert("RGB").resize((128, 128)) for image in images))
        best = {name: logits.argmax(1).tolist() for name, logits in found.items()}
        return [{name: ATTRIBUTES[name][best[name][i]] for name in ATTRIBUTES} for i in range(len(images))]


def load_oracle(path: Path = WEIGHTS) -> Oracle:
    """The trained oracle."""
    oracle = Oracle()
    oracle.load_state_dict(load_file(path))
    return oracle.eval()


def labels(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """The places of the scenes' values in `ATTRIBUTES`."""
    return {
        name: torch.tensor([values.index(str(getattr(scene, name))) for scene in scenes])
        for name, values in ATTRIBUTES.items()
    }


def corrupted(pixels: Tensor, rng: random.Random) -> Tensor:
    """Images as a weak model might draw them: softer, noisier, lighter or darker, a little shifted."""
    if rng.random() < 0.5:
        side = rng.choice((32, 48, 64, 96))
        small = functional.interpolate(pixels, size=(side, side), mode="area")
        pixels = functional.interpolate(small, size=pixels.shape[-2:], mode="bilinear", align_corners=False)
    pixels = torch.roll(pixels, (rng.randint(-4, 4), rng.randint(-4, 4)), (2, 3))
    batch = len(pixels)
    pixels = pixels * (1 + 0.15 * (torch.rand(batch, 1, 1, 1) - 0.5)) + 0.15 * (torch.rand(batch, 3, 1, 1) - 0.5)
    return pixels + rng.uniform(0, 0.12) * torch.randn_like(pixels)


class OracleStage(Stage):
    """Trains the oracle."""

    name = "oracle"
    seed = 1887
    steps = 2500
    rate = 1e-3

    def __init__(self, runs: Path) -> None:
        """Fresh weights; other runs are not needed."""
        torch.manual_seed(self.seed)
        self.oracle = Oracle()

    def warm(self, checkpoints: Path) -> None:
        """See `Stage.warm`."""
        self.oracle.load_state_dict(load_file(WEIGHTS))

    def parts(self) -> Mapping[str, nn.Module]:
        """See `Stage.parts`."""
        return {"oracle": self.oracle}

    def loss(self, step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """See `Stage.loss`."""
        scenes = random_scenes(BATCH, rng)
        device = next(self.oracle.parameters()).device
        found = self.oracle(corrupted(drawn(scenes), rng).to(device))
        losses = {
            name: functional.cross_entropy(found[name], label.to(device)) for name, label in labels(scenes).items()
        }
        return torch.stack(list(losses.values())).sum(), {name: loss.item() for name, loss in losses.items()}
