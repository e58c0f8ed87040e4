"""The vision model: its tower, its projector and its language model, learnt together from nothing."""

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlavaOnevisionForConditionalGeneration

from starter.drawing import draw
from starter.questions import DIGITS, NUMBERS, Asked, compare, describe, odd_one, odd_set, several
from starter.training.loop import Stage
from starter.training.oracle import labels, spoilt
from starter.training.packing import OPENING, Sample, answer_loss, image_features, logits, pack
from starter.training.pictures import random_scenes, to_tensor
from starter.vision import model, tokenizer
from starter.world import ATTRIBUTES, Scene

BATCH, QUESTIONS = 8, 7
SETS = 4
"""Samples of a batch of comparisons."""
COMPARE_EVERY, COMPARE_FROM = 5, 0.3
"""How often a batch is of comparisons, and after which part of the steps: first it learns to see."""
SYSTEM = ("You are a helpful assistant.", "Answer briefly.", "You look at images and answer questions.")
HEADS_WEIGHT = 0.5


class Vision(Stage):
    """Trains on questions of all kinds, and on naming the attributes straight from the tower's features."""

    name = "vision"
    seed = 20260924
    steps = 4000
    rate = 2e-3

    def __init__(self, runs: Path) -> None:
        """Fresh weights; other runs are not needed."""
        self.tokenizer = tokenizer()
        torch.manual_seed(self.seed)
        self.model = model(self.tokenizer)
        self.model.set_attn_implementation("eager")  # Faster than torch's fused attention here: by a third of a step.
        width = self.model.config.text_config.hidden_size
        # They are left behind after training: a tower learns to see from them long before it does from words.
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(values)) for name, values in ATTRIBUTES.items()})

    def warm(self, checkpoints: Path) -> None:
        """See `Stage.warm`."""
        folder = str(checkpoints / "vision")
        loaded = LlavaOnevisionForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        self.model.load_state_dict(loaded.state_dict())

    def parts(self) -> Mapping[str, nn.Module]:
        """See `Stage.parts`."""
        return {"model": self.model, "heads": self.heads}

    def loss(self, step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """See `Stage.loss`."""
        comparing = step > COMPARE_FROM * self.steps and step % COMPARE_EVERY == 0
        shown, samples = comparisons(rng) if comparing else questions(rng)
        pixels = to_tensor(draw(scene) for scene in shown)
        if rng.random() < 0.5:
            pixels = spoilt(pixels, rng)
        device = self.model.device
        packed = pack(samples, self.tokenizer)
        with torch.autocast(device.type, torch.bfloat16):
            features = image_features(self.model, pixels.to(device))
            found, where = logits(self.model, packed, features)
            pooled = features.float().mean(1)
            named = {name: head(pooled) for name, head in self.heads.items()}
        answers = answer_loss(found, packed, where)
        truth = labels(shown)
        seen = torch.stack([functional.cross_entropy(named[n].float(), truth[n].to(device)) for n in truth]).mean()
        return answers + HEADS_WEIGHT * seen, {"answers": answers.item(), "seen": seen.item()}


def questions(rng: random.Random) -> tuple[list[Scene], list[Sample]]:
    """A batch of pictures, each with several questions."""
    shown = random_scenes(BATCH, rng)
    samples: list[Sample] = []
    for scene in shown:
        opening = OPENING
        if rng.random() < 0.1:
            opening = f"<|im_start|>system\n{rng.choice(SYSTEM)}<|im_end|>\n{OPENING}"
        asked = several(scene, rng, QUESTIONS)
        if rng.random() < 0.1:  # A chat may have its words before the picture.
            one = describe(scene, rng)
            opening, asked = opening + one.text, [Asked("", one.answer)]
        samples.append(Sample(1, asked, opening))
    return shown, samples


def comparisons(rng: random.Random) -> tuple[list[Scene], list[Sample]]:
    """A batch of sets of two to four pictures: pairs that differ in some attributes, and sets with an odd one."""
    shown: list[Scene] = []
    samples: list[Sample] = []
    count = rng.choice((2, 3, 4))
    for scene in random_scenes(SETS, rng):
        if count > 2:
            group, odd = odd_set(scene, rng, count)
            asked = [odd_one(group, odd, rng.choice((NUMBERS, DIGITS))), *compare(group, rng)]
        else:
            other = random_scenes(1, rng)[0]
            kept = {name: getattr(scene, name) for name in ATTRIBUTES if rng.random() < 0.6}
            group = [scene, replace(other, **kept)]
            asked = [question for _ in range(4) for question in compare(group, rng)]
        shown += group
        samples.append(Sample(count, asked))
    return shown, samples
