"""Compares images by the model's descriptions of each: small models do best with one image at a time.

Every image is described, aspect by aspect, and each description is then checked against the images it is compared with.
Descriptions are never compared as text: "a small house" and "a cottage" agree if each fits the other's image.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.base import (
    ImagePart,
    JudgeRequest,
    JudgeResult,
    Message,
    PairConsistency,
    Question,
    TextAdapter,
    TextDelta,
    TextPart,
    TextRequest,
    Usage,
)
from adapters.vision.explanations import gather_or_cancel

MAX_TOKENS = 48
"""Of the description of one aspect of an image."""
MAX_CONCURRENT = 8
"""Maximum number of images that are described or judged at the same time."""
UNKNOWN = 0.5
"""Probability for an aspect that the model described for neither image."""


@dataclass(frozen=True, slots=True)
class CaptionComparison:
    """The descriptions of images, and the comparisons by them."""

    descriptions: tuple[tuple[str, ...], ...]
    """Per image and aspect; "" if the model returned nothing."""
    pairs: tuple[PairConsistency, ...]
    usage: Usage
    masses: tuple[float, ...]
    """Per answer: the total probability of "yes" and "no"."""


def description_prompt(aspect: str) -> str:
    """The prompt for the description of an aspect.

    Examples:
        >>> description_prompt("lighting")
        'Describe the lighting in a few words.'
    """
    return f"Describe the {aspect} in a few words."


def check_prompts(aspect: str, text: str) -> tuple[str, str]:
    """Two prompts that check another image's description; their mean probability counts.

    Only the first relates the description to its aspect ("red" is in every image with a sun), and only the second is
    understandable if the first is not a proper sentence.
    """
    return f"Is the {aspect} {text}?", f'Does the image show this: "{text}"?'


async def compare_captions(
    adapter: TextAdapter, images: Sequence[ImagePart], aspects: Sequence[str], pairs: Sequence[tuple[int, int]]
) -> CaptionComparison:
    """Describes images, and compares them by their descriptions.

    The probability that two images agree in an aspect is the mean of two probabilities: that each matches the other's
    description.

    Args:
        adapter: A model that supports images.
        images: The images.
        aspects: The aspects that are described.
        pairs: Indices of the images that are compared.

    Raises:
        AdapterError: As `TextAdapter.generate` and `TextAdapter.judge`.
    """
    limit = asyncio.Semaphore(MAX_CONCURRENT)

    async def describe(image: ImagePart) -> list[tuple[str, Usage]]:
        async with limit:
            return [await _describe(adapter, image, aspect) for aspect in aspects]

    described = await gather_or_cancel([describe(image) for image in images])
    descriptions = tuple(tuple(text for text, _ in row) for row in described)
    partners: list[set[int]] = [set() for _ in images]
    for first, second in pairs:
        partners[first].add(second)
        partners[second].add(first)

    async def judge(at: int) -> tuple[dict[tuple[int, str], float], JudgeResult | None]:
        claims = [
            (aspect, text) for other in sorted(partners[at]) for aspect, text in enumerate(descriptions[other]) if text
        ]
        claims = list(dict.fromkeys(claims))
        if not claims:
            return {}, None
        questions = [Question(prompt) for aspect, text in claims for prompt in check_prompts(aspects[aspect], text)]
        async with limit:
            result = await adapter.judge(JudgeRequest((images[at],), tuple(questions)))
        yes = [one.probabilities[0] for one in result.judgements]
        count = len(yes) // len(claims)
        means = (sum(yes[start : start + count]) / count for start in range(0, len(yes), count))
        return dict(zip(claims, means, strict=True)), result

    judged = await gather_or_cancel([judge(at) for at in range(len(images))])

    def same(first: int, second: int, aspect: int) -> float:
        directions = ((first, second), (second, first))
        known = [
            judged[at][0][aspect, descriptions[other][aspect]]
            for at, other in directions
            if descriptions[other][aspect]
        ]
        return sum(known) / len(known) if known else UNKNOWN

    compared = tuple(
        PairConsistency(first, second, tuple(same(first, second, aspect) for aspect in range(len(aspects))))
        for first, second in pairs
    )
    results = [result for _, result in judged if result is not None]
    usage = sum((one.usage for one in results), sum((spent for row in described for _, spent in row), Usage()))
    masses = tuple(one.mass for result in results for one in result.judgements)
    return CaptionComparison(descriptions, compared, usage, masses)


async def _describe(adapter: TextAdapter, image: ImagePart, aspect: str) -> tuple[str, Usage]:
    """The model's description of an aspect, in one line and without the full stop."""
    request = TextRequest(
        (Message("user", (image, TextPart(description_prompt(aspect)))),), max_tokens=MAX_TOKENS, temperature=0
    )
    text, usage = "", Usage()
    async for event in adapter.generate(request):
        if isinstance(event, TextDelta):
            text += event.text
        else:
            usage = event.usage
    return " ".join(text.replace('"', "'").split()).rstrip(". "), usage
