"""Many questions about the same images in one sequence, each answered as if it stood alone.

The images come first and once; every question is a branch behind them, that sees them and itself and none of the
others, and counts its positions from the end of the images. It costs a fraction of asking one by one, and a model
cannot tell the difference: tests/starter/test_training.py compares the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlavaOnevisionForConditionalGeneration, Qwen2Tokenizer

from starter.lexicon import meanings
from starter.questions import LabelledQuestion
from starter.vision import IMAGE_SIZE
from starter.world import Scene

GRID = IMAGE_SIZE // 16
IMAGE_TOKENS = GRID * GRID + GRID * (GRID + 1)
"""Of one image: seen as a whole, and again as its one tile, whose rows end in a token each."""
OPENING = "<|im_start|>user\n"
CLOSING = "<|im_end|>\n<|im_start|>assistant\n"
NOTHING = -100
HIDDEN = -1e9
"""Added to what must not be seen, before the softmax."""
FREE_WEIGHT = 0.3
"""Of a token of free text in the loss, where the answer to a question with options counts 1."""
END_WEIGHT = 0.1


@dataclass(frozen=True)
class Sample:
    """Images and the questions about them."""

    images: int
    asked: Sequence[LabelledQuestion]
    opening: str = OPENING
    """What stands before the images."""
    scene: Scene | None = None
    """What the only image shows, where words are to be held against it."""


@dataclass(frozen=True)
class Packed:
    """A batch of samples: int64 [batch, length] each, but the mask and the weights."""

    tokens: Tensor
    positions: Tensor
    mask: Tensor
    """bool [batch, 1, length, length]: what sees what."""
    targets: Tensor
    """The token that should come next, or `NOTHING`."""
    weights: Tensor
    """float32: of each target in the loss."""
    matches: Tensor
    """Of each word in a question that names an attribute, whether the image has it: 1 or 0; else `NOTHING`."""


def pack(samples: Sequence[Sample], tokenizer: Qwen2Tokenizer) -> Packed:
    """Lays the samples out, padded to the longest."""
    rows = [_row(sample, tokenizer) for sample in samples]
    length = max(len(row[0]) for row in rows)

    def padded(column: int, filler: float) -> Tensor:
        return torch.tensor([[*row[column], *[filler] * (length - len(row[column]))] for row in rows])

    tokens, positions, branch, targets = (padded(i, filler).long() for i, filler in enumerate((0, 0, -1, NOTHING)))
    matches = padded(5, NOTHING).long()
    below = torch.ones(length, length, dtype=torch.bool).tril()
    same = branch[:, :, None] == branch[:, None, :]
    shared = (branch == 0)[:, None, :] & (branch >= 0)[:, :, None]
    return Packed(tokens, positions, ((same | shared) & below)[:, None], targets, padded(4, 0.0).float(), matches)


@cache
def _meanings(tokenizer: Qwen2Tokenizer) -> Mapping[int, tuple[str, str]]:
    """What single tokens name: an attribute and its value."""
    found: dict[int, tuple[str, str]] = {}
    for word, meaning in meanings().items():
        for form in (word, word.capitalize(), f" {word}", f" {word.capitalize()}"):
            ids = tokenizer(form, add_special_tokens=False).input_ids
            if len(ids) == 1:
                found[ids[0]] = meaning
    return found


def _row(
    sample: Sample, tokenizer: Qwen2Tokenizer
) -> tuple[list[int], list[int], list[int], list[int], list[float], list[int]]:
    """Tokens, positions, number of the branch (0: what all share), targets, weights, matches."""
    image, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<image>", "<|im_end|>"))

    def read(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    tokens = read(sample.opening)
    for _ in range(sample.images):
        tokens += [image] * IMAGE_TOKENS + read("\n")
    start = len(tokens)
    positions, branch = list(range(start)), [0] * start
    targets, weights, matches = [NOTHING] * start, [0.0] * start, [NOTHING] * start
    known = _meanings(tokenizer) if sample.scene else {}
    for number, asked in enumerate(sample.asked, 1):
        question, answer = read(asked.text + CLOSING), read(asked.answer)
        said = [*question, *answer]
        tokens += said
        positions += range(start, start + len(said))
        branch += [number] * len(said)
        targets += [NOTHING] * (len(question) - 1) + [*answer, end]
        weight = 1.0 if asked.options else FREE_WEIGHT
        weights += [0.0] * (len(question) - 1) + [weight] * len(answer) + [END_WEIGHT]
        for token in question:
            name, value = known.get(token, ("", ""))
            matches.append(int(getattr(sample.scene, name) == value) if name else NOTHING)
        matches += [NOTHING] * len(answer)
    return tokens, positions, branch, targets, weights, matches


def image_features(model: LlavaOnevisionForConditionalGeneration, pixels: Tensor) -> Tensor:
    """float32 [images, 3, side, side] of -1..1 to [images, `IMAGE_TOKENS`, width].

    As `LlavaOnevisionModel.get_image_features` makes them, but an image and its tile, here the same pixels, are
    looked at once.
    """
    inner = model.model
    seen = inner.vision_tower(pixels, output_hidden_states=True).hidden_states[-1]
    whole = inner.multi_modal_projector(seen)
    count, _, width = whole.shape
    newline = inner.image_newline.to(whole.dtype).expand(count, GRID, 1, width)
    rows = torch.cat([whole.view(count, GRID, GRID, width), newline], dim=2)
    return torch.cat([whole, rows.flatten(1, 2)], dim=1)


def read(
    model: LlavaOnevisionForConditionalGeneration, packed: Packed, features: Tensor, attentions: bool = False
) -> Any:
    """What the language model makes of it.

    Returns:
        `hidden_states`, [batch, length, width]: the embeddings, then what each layer leaves; and on demand each layer's
        `attentions`, [batch, heads, length, length].
    """
    device = features.device
    tokens = packed.tokens.to(device)
    embedded = model.model.get_input_embeddings()(tokens)
    at = (tokens == model.config.image_token_index)[..., None].expand_as(embedded)
    embedded = embedded.masked_scatter(at, features.to(embedded.dtype))
    return model.model.language_model(
        inputs_embeds=embedded,
        attention_mask=torch.where(packed.mask.to(device), 0.0, HIDDEN),
        position_ids=packed.positions.to(device),
        use_cache=False,
        output_hidden_states=True,
        output_attentions=attentions,
    )


def logits(model: LlavaOnevisionForConditionalGeneration, packed: Packed, features: Tensor) -> tuple[Tensor, Tensor]:
    """The distributions at every place that has a target: [targets, vocabulary], and where they are in `targets`."""
    where = (packed.targets != NOTHING).to(features.device)
    return model.lm_head(read(model, packed, features).hidden_states[-1][where]), where


def gathered(attention: Tensor, packed: Packed, no: int) -> Tensor:
    """How much of one head's attention, [batch, length, length], an answer gives the words that it hangs on.

    Those are the words that name attributes; of a question that is to be denied, the ones that are wrong.

    Args:
        attention: Of one head, 0..1.
        packed: What was read.
        no: The token of "no".

    Returns:
        [answers], 0..1: of those answers to questions with options that have such words before them.
    """
    rows = (packed.weights == 1.0).nonzero(as_tuple=True)
    before = packed.mask[:, 0][rows]
    named = before & (packed.matches != NOTHING)[rows[0]]
    wrong = before & (packed.matches == 0)[rows[0]]
    denied = (packed.targets[rows] == no) & wrong.any(-1)
    named = torch.where(denied[:, None], wrong, named)
    shares = (attention[rows] * named.to(attention.device)).sum(-1)
    return shares[named.any(-1).to(attention.device)]


def answer_loss(found: Tensor, packed: Packed, where: Tensor) -> Tensor:
    """The weighted mean of the targets' negative log-probabilities."""
    targets = packed.targets.to(found.device)[where]
    weights = packed.weights.to(found.device)[where]
    losses = nn.functional.cross_entropy(found.float(), targets, reduction="none")
    return (losses * weights).sum() / weights.sum()
