"""Images compared by what the model says of each: one at a time is what small models look at best.

Every image is described, aspect by aspect, and what is said of one is then held against its partners. Nothing is
compared as text: "a small house" and "a cottage" are the same where the images have both.
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
from adapters.vision.explanations import all_of

MAX_TOKENS = 48
"""Of what is said of one aspect of an image."""
AT_ONCE = 8
"""Images that are described or judged at the same time."""
UNKNOWN = 0.5
"""Of an aspect of which the model said nothing on either side."""


@dataclass(frozen=True, slots=True)
class Described:
    """Images in the model's words, and held against each other's."""

    said: tuple[tuple[str, ...], ...]
    """Of each image, of each aspect; empty where the model said nothing."""
    pairs: tuple[PairConsistency, ...]
    usage: Usage
    masses: tuple[float, ...]
    """Of each answer, how much of the model's probability "yes" and "no" had."""


def asked_for(aspect: str) -> str:
    """The words that ask for an aspect of an image.

    Examples:
        >>> asked_for("lighting")
        'Describe the lighting in a few words.'
    """
    return f"Describe the {aspect} in a few words."


def wordings(aspect: str, text: str) -> tuple[str, str]:
    """How an image is asked for what was said of another; the mean counts.

    The first alone tells values of one aspect apart ("red" is in every image with a sun), the second alone is
    understood where the first makes no sentence.
    """
    return f"Is the {aspect} {text}?", f'Does the image show this: "{text}"?'


async def described(
    adapter: TextAdapter, parts: Sequence[ImagePart], aspects: Sequence[str], partners: Sequence[tuple[int, int]]
) -> Described:
    """Describes images and compares those.

    How probably two are the same in an aspect is the mean of two probabilities: that each shows what is said of the
    other.

    Args:
        adapter: A model with eyes.
        parts: The images.
        aspects: What is described.
        partners: Which images are compared.

    Raises:
        AdapterError: As `TextAdapter.generate` and `TextAdapter.judge`.
    """
    turn = asyncio.Semaphore(AT_ONCE)

    async def describe(part: ImagePart) -> list[tuple[str, Usage]]:
        async with turn:
            return [await _said(adapter, part, aspect) for aspect in aspects]

    found = await all_of([describe(part) for part in parts])
    said = tuple(tuple(text for text, _ in row) for row in found)
    near: list[set[int]] = [set() for _ in parts]
    for first, second in partners:
        near[first].add(second)
        near[second].add(first)

    async def judge(at: int) -> tuple[dict[tuple[int, str], float], JudgeResult | None]:
        told = [(aspect, text) for other in sorted(near[at]) for aspect, text in enumerate(said[other]) if text]
        told = list(dict.fromkeys(told))
        if not told:
            return {}, None
        questions = [Question(wording) for aspect, text in told for wording in wordings(aspects[aspect], text)]
        async with turn:
            result = await adapter.judge(JudgeRequest((parts[at],), tuple(questions)))
        yes = [one.probabilities[0] for one in result.judgements]
        of_each = len(yes) // len(told)
        means = (sum(yes[start : start + of_each]) / of_each for start in range(0, len(yes), of_each))
        return dict(zip(told, means, strict=True)), result

    judged = await all_of([judge(at) for at in range(len(parts))])

    def same(first: int, second: int, aspect: int) -> float:
        ways = ((first, second), (second, first))
        known = [judged[at][0][aspect, said[other][aspect]] for at, other in ways if said[other][aspect]]
        return sum(known) / len(known) if known else UNKNOWN

    pairs = tuple(
        PairConsistency(first, second, tuple(same(first, second, aspect) for aspect in range(len(aspects))))
        for first, second in partners
    )
    results = [result for _, result in judged if result is not None]
    usage = sum((one.usage for one in results), sum((spent for row in found for _, spent in row), Usage()))
    return Described(said, pairs, usage, tuple(one.mass for result in results for one in result.judgements))


async def _said(adapter: TextAdapter, part: ImagePart, aspect: str) -> tuple[str, Usage]:
    """What the model says of an aspect, in one line and without the full stop, and what it took."""
    request = TextRequest((Message("user", (part, TextPart(asked_for(aspect)))),), max_tokens=MAX_TOKENS, temperature=0)
    written, usage = "", Usage()
    async for event in adapter.generate(request):
        if isinstance(event, TextDelta):
            written += event.text
        else:
            usage = event.usage
    return " ".join(written.replace('"', "'").split()).rstrip(". "), usage
