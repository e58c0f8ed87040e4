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
from starter.questions import DIGITS, NUMBERS, LabelledQuestion, compare, describe, odd_one, odd_set, several, which
from starter.training.images import random_scenes, to_tensor
from starter.training.loop import Stage
from starter.training.oracle import corrupted, labels
from starter.training.packing import NOTHING, OPENING, Sample, answer_loss, gathered, image_features, pack, read
from starter.vision import model, tokenizer
from starter.world import ATTRIBUTES, Scene

SEE_UNTIL, LOOKED_AT = 0.28, 32
"""For which part of the steps it only learns to see, and how many images a batch it looks at for that.

Eyes alone cost a third of a step with questions and learn from four times as many images. Without this, after 500
steps of questions it named one subject in four; with it, after 800 steps of seeing, 94 %.
"""
BATCH, QUESTIONS = 8, 8
SETS = 4
"""Samples of a batch of comparisons."""
COMPARE_EVERY, COMPARE_FROM = 8, 0.6
"""How often a batch is of comparisons, and after which part of the steps: first it learns what one image shows."""
SYSTEM = ("You are a helpful assistant.", "Answer briefly.", "You look at images and answer questions.")
HEADS_WEIGHT = 0.5
WORDS_LAYERS, WORDS_WEIGHT = (2, 3), 1.0
"""After which layers every word of a question that names an attribute is to say whether the image has it, as if "yes"
or "no" were to follow it; and the weight of that.

Without it the model learns what is in an image at once, and whether a sentence is true of it not in 2,500 steps: the
answer alone tells nothing of which word was wrong. So the layers above have only to gather what the words have found.
"""
GATHER_HEAD, GATHER_WEIGHT = 1, 0.2
"""A head of the last layer that is led to those words, or to the wrong ones if there are any; and the weight of that.

Left alone, it had fixed upon commas and quotes long before the words had anything to say, and never looked away. Led to
all words alike, it lost one wrong one among four right ones."""


class Vision(Stage):
    """Trains on questions of all kinds, and on naming the attributes straight from the tower's features."""

    name = "vision"
    seed = 20260924
    steps = 7500
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
        self._verdicts = [self.tokenizer.convert_tokens_to_ids(word) for word in ("no", "yes")]

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
        if step < SEE_UNTIL * self.steps:
            seen = self._encode_images(random_scenes(LOOKED_AT, rng), rng)[1]
            return seen, {"answers": 0.0, "seen": seen.item(), "words": 0.0, "gather": 0.0}
        comparing = step > COMPARE_FROM * self.steps and step % COMPARE_EVERY == 0
        shown, samples = comparisons(rng) if comparing else questions(rng)
        features, seen = self._encode_images(shown, rng)
        packed = pack(samples, self.tokenizer)
        where, mentioned = packed.targets != NOTHING, packed.matches != NOTHING
        device = features.device
        with torch.autocast(device.type, torch.bfloat16):
            seen_as = read(self.model, packed, features, attentions=True)
            states = seen_as.hidden_states
            found = self.model.lm_head(states[-1][where.to(device)])
            said = self._answer_states([states[layer][mentioned.to(device)] for layer in WORDS_LAYERS])
        answers = answer_loss(found, packed, where.to(device))
        words = gather = 0 * seen
        if mentioned.any():  # Not where several images are compared.
            truth = packed.matches[mentioned].to(device)
            words = torch.stack([functional.cross_entropy(one, truth) for one in said]).mean()
            shares = gathered(seen_as.attentions[-1][:, GATHER_HEAD].float(), packed, self._verdicts[0])
            gather = -(shares + 1e-6).log().mean()
        losses = {"answers": answers, "seen": seen, "words": words, "gather": gather}
        whole = answers + HEADS_WEIGHT * seen + WORDS_WEIGHT * words + GATHER_WEIGHT * gather
        return whole, {name: loss.item() for name, loss in losses.items()}

    def _answer_states(self, states: list[Tensor]) -> list[Tensor]:
        """What each layer would have said at these places, had it been the last: logits of "no" and "yes"."""
        ends = self.model.model.language_model.norm
        return [self.model.lm_head(ends(state))[:, self._verdicts].float() for state in states]

    def _encode_images(self, shown: list[Scene], rng: random.Random) -> tuple[Tensor, Tensor]:
        """What the language model is given of the images, and the loss of naming attributes straight from it."""
        pixels = to_tensor(draw(scene) for scene in shown)
        if rng.random() < 0.5:
            pixels = corrupted(pixels, rng)
        device = self.model.device
        with torch.autocast(device.type, torch.bfloat16):
            features = image_features(self.model, pixels.to(device))
        pooled, truth = features.float().mean(1), labels(shown)
        losses = [functional.cross_entropy(head(pooled), truth[name].to(device)) for name, head in self.heads.items()]
        return features, torch.stack(losses).mean()


def questions(rng: random.Random) -> tuple[list[Scene], list[Sample]]:
    """A batch of images, each with several questions."""
    shown = random_scenes(BATCH, rng)
    samples: list[Sample] = []
    for scene in shown:
        opening = OPENING
        if rng.random() < 0.1:
            opening = f"<|im_start|>system\n{rng.choice(SYSTEM)}<|im_end|>\n{OPENING}"
        asked = several(scene, rng, QUESTIONS)
        if rng.random() < 0.1:  # A chat may have its words before the image.
            one = describe(scene, rng)
            opening, asked = opening + one.text, [LabelledQuestion("", one.answer)]
        samples.append(Sample(1, asked, opening, scene))
    return shown, samples


def comparisons(rng: random.Random) -> tuple[list[Scene], list[Sample]]:
    """A batch of sets of two to four images: pairs that differ in some attributes, and sets with an odd one."""
    shown: list[Scene] = []
    samples: list[Sample] = []
    count = rng.choice((2, 3, 4))
    for scene in random_scenes(SETS, rng):
        if count > 2:
            group, odd = odd_set(scene, rng, count)
            asked = [odd_one(group, odd, NUMBERS if rng.random() < 0.8 else DIGITS), *compare(group, rng)]
            asked += [which(group, odd, rng) for _ in range(2)]
        else:
            other = random_scenes(1, rng)[0]
            kept = {name: getattr(scene, name) for name in ATTRIBUTES if rng.random() < 0.6}
            group = [scene, replace(other, **kept)]
            asked = [question for _ in range(4) for question in compare(group, rng)]
        shown += group
        samples.append(Sample(count, asked))
    return shown, samples
