"""Checks whether images belong together, in pairs and all at once, by aspects; names the odd one out."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from adapters.base import (
    AspectConsistency,
    ImagePart,
    Inconsistency,
    Judgement,
    JudgeRequest,
    JudgeResult,
    Media,
    PairConsistency,
    Question,
    SceneConsistency,
    TextAdapter,
    Usage,
)
from adapters.errors import ContextLengthExceeded
from adapters.vision.caption_comparison import compare_captions
from adapters.vision.explanations import (
    check_supports_images,
    format_score,
    gather_or_cancel,
    naming_param,
    uncertainty_note,
)

Comparison = Literal["images", "descriptions"]
"""What is compared: the images themselves, or the model's descriptions of each image."""

ASPECTS = ("subject", "colours", "setting", "lighting", "style")
"""The default aspects."""
MAX_FRAMES = 32
ALL_PAIRS = 9
"""Up to this many images, all pairs are compared; beyond, each with the `REACH` before and the `REACH` after it."""
REACH = 4
UNLIKELY = 1e-3
"""Probabilities are clamped to this and 1 - this, so no single judgement decides which image is odd."""
MAX_CONCURRENT = 8
"""Maximum number of pairs that are judged at the same time."""
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
"""Answer options for up to ten images; with more, words would share first letters, so digits are used."""


@dataclass(frozen=True, slots=True)
class _JointJudgement:
    """The judgement of all images at once."""

    same: tuple[float, ...]
    """Per aspect."""
    odd: tuple[float, ...]
    """Per image: that it is the odd one out; empty for two images."""


@dataclass(frozen=True, slots=True)
class _Judgements:
    """All judgements of a set of images."""

    joint: _JointJudgement | None
    pairs: tuple[PairConsistency, ...]
    descriptions: tuple[tuple[str, ...], ...]
    """Per image and aspect; empty if the images themselves were compared."""
    usage: Usage
    masses: tuple[float, ...]


async def check_consistency(
    adapter: TextAdapter,
    images: Sequence[Media],
    *,
    aspects: Sequence[str] = ASPECTS,
    threshold: float = 0.5,
    comparison: Comparison = "images",
) -> SceneConsistency:
    """Checks whether images agree in several aspects.

    An aspect's score is the geometric mean of two probabilities: the lowest mean pairwise probability of any image, and
    the probability for all images judged at once. The score of the set is that of its lowest aspect. If all images
    together do not fit the model's context, only pairs count, and the result says so. The same applies if descriptions
    are compared (`caption_comparison`), which takes more time, but works with weaker vision models.

    Args:
        adapter: A model that supports images.
        images: 2..32.
        aspects: Nouns that can follow "the same".
        threshold: 0..1: the set is consistent if every aspect's score reaches it.
        comparison: What is compared.

    Raises:
        WrongModelKind: The model does not support images.
        ContextLengthExceeded: Two images do not fit the context.
        AdapterError: As `TextAdapter.judge`.
    """
    check_supports_images(adapter)
    started = time.perf_counter()
    parts = [ImagePart(image) for image in images]
    with naming_param("images"):
        compare = _compare_descriptions if comparison == "descriptions" else _compare_images
        judgements = await compare(adapter, parts, aspects)
    whole, pairs = judgements.joint, judgements.pairs
    judged = tuple(_aspect(name, at, pairs, whole, len(images)) for at, name in enumerate(aspects))
    wrong = [at for at, aspect in enumerate(judged) if aspect.probability < threshold]
    score = min(aspect.probability for aspect in judged)
    odd = _odd(pairs, whole, wrong or list(range(len(aspects))), len(images))
    most_probable = max(range(len(odd)), key=odd.__getitem__) if odd and wrong else None
    odd_frame = most_probable if most_probable is not None and odd[most_probable] >= 0.5 else None
    inconsistencies = tuple(
        Inconsistency(aspects[at], judged[at].probability, _apart(pairs, at, len(images), threshold)) for at in wrong
    )
    return SceneConsistency(
        is_consistent=not wrong,
        consistency_score=score,
        analysis=_analysis(score, threshold, judged, inconsistencies, odd_frame, odd, judgements),
        aspects=judged,
        pairs=pairs,
        inconsistencies=inconsistencies,
        odd_frame=odd_frame,
        odd_probabilities=odd,
        all_at_once=whole is not None,
        descriptions=judgements.descriptions,
        usage=judgements.usage,
        generation_ms=(time.perf_counter() - started) * 1000,
    )


def partners(count: int) -> list[tuple[int, int]]:
    """The pairs that are compared: all pairs of few images; of many, neighbours in a circle."""
    if count <= ALL_PAIRS:
        return list(combinations(range(count), 2))
    near = {tuple(sorted((at, (at + step) % count))) for at in range(count) for step in range(1, REACH + 1)}
    return sorted((first, second) for first, second in near)


async def _compare_images(adapter: TextAdapter, parts: Sequence[ImagePart], aspects: Sequence[str]) -> _Judgements:
    whole, joint_result = await _judge_jointly(adapter, parts, aspects)
    pairs, results = await _judge_pairs(adapter, parts, aspects)
    if joint_result:
        results.append(joint_result)
    masses = tuple(judgement.mass for result in results for judgement in result.judgements)
    return _Judgements(whole, tuple(pairs), (), sum((result.usage for result in results), Usage()), masses)


async def _compare_descriptions(
    adapter: TextAdapter, parts: Sequence[ImagePart], aspects: Sequence[str]
) -> _Judgements:
    found = await compare_captions(adapter, parts, aspects, partners(len(parts)))
    return _Judgements(None, found.pairs, found.descriptions, found.usage, found.masses)


async def _judge_jointly(
    adapter: TextAdapter, parts: Sequence[ImagePart], aspects: Sequence[str]
) -> tuple[_JointJudgement | None, JudgeResult | None]:
    """Judges all images together; None if they do not fit the context."""
    asked = [Question(f"Is the {aspect} the same in all images?") for aspect in aspects]
    count = len(parts)
    if count > 2:
        names = NUMBERS[:count] if count <= len(NUMBERS) else tuple(map(str, range(1, count + 1)))
        asked.append(Question("Which image does not fit the others?", names))
    try:
        result = await adapter.judge(JudgeRequest(tuple(parts), tuple(asked)))
    except ContextLengthExceeded:
        return None, None
    same = tuple(judgement.probabilities[0] for judgement in result.judgements[: len(aspects)])
    return _JointJudgement(same, result.judgements[-1].probabilities if count > 2 else ()), result


async def _judge_pairs(
    adapter: TextAdapter, parts: Sequence[ImagePart], aspects: Sequence[str]
) -> tuple[list[PairConsistency], list[JudgeResult]]:
    questions = tuple(Question(f"Do the images show the same {aspect}?") for aspect in aspects)
    limit = asyncio.Semaphore(MAX_CONCURRENT)

    async def judge(first: int, second: int) -> JudgeResult:
        async with limit:
            return await adapter.judge(JudgeRequest((parts[first], parts[second]), questions))

    chosen = partners(len(parts))
    results = await gather_or_cancel([judge(first, second) for first, second in chosen])
    found = [
        PairConsistency(first, second, tuple(_yes(judgement) for judgement in result.judgements))
        for (first, second), result in zip(chosen, results, strict=True)
    ]
    return found, results


def _yes(judgement: Judgement) -> float:
    return judgement.probabilities[0]


def _aspect(
    name: str, at: int, pairs: Sequence[PairConsistency], whole: _JointJudgement | None, count: int
) -> AspectConsistency:
    least = min(_agreement(pairs, at, frame) for frame in range(count))
    if whole is None:
        return AspectConsistency(name, least, least, None)
    return AspectConsistency(name, math.sqrt(least * whole.same[at]), least, whole.same[at])


def _agreement(pairs: Sequence[PairConsistency], at: int, frame: int) -> float:
    """The mean probability of an image's pairs in one aspect."""
    found = [pair.probabilities[at] for pair in pairs if frame in (pair.first, pair.second)]
    return sum(found) / len(found)


def _odd(
    pairs: Sequence[PairConsistency], whole: _JointJudgement | None, aspects: Sequence[int], count: int
) -> tuple[float, ...]:
    """Per image, the probability that it is the odd one out: its pairs disagree, and all other pairs agree.

    The pairs are treated as independent (naive Bayes); the joint judgement is one more observation.
    """
    if count < 3:
        return ()
    scores = [math.log(max(whole.odd[frame], UNLIKELY)) if whole else 0.0 for frame in range(count)]
    for pair in pairs:
        same = sum(pair.probabilities[at] for at in aspects) / len(aspects)
        same = min(max(same, UNLIKELY), 1 - UNLIKELY)
        for frame in (pair.first, pair.second):
            scores[frame] += math.log((1 - same) / same)
    weights = [math.exp(score - max(scores)) for score in scores]
    return tuple(weight / sum(weights) for weight in weights)


def _apart(pairs: Sequence[PairConsistency], at: int, count: int, threshold: float) -> tuple[int, ...]:
    """The images that disagree with those they are compared with."""
    return tuple(frame for frame in range(count) if _agreement(pairs, at, frame) < threshold)


def _analysis(
    score: float,
    threshold: float,
    aspects: Sequence[AspectConsistency],
    inconsistencies: Sequence[Inconsistency],
    odd_frame: int | None,
    odd: Sequence[float],
    judgements: _Judgements,
) -> str:
    """The result in words; images are named as in the request."""
    same = [
        f"{one.name} ({format_score(one.probability, threshold)})" for one in aspects if one.probability >= threshold
    ]
    sentences = [
        f"The images are {'not ' if inconsistencies else ''}consistent: "
        f"their score is {format_score(score, threshold)}, "
        f"against a threshold of {threshold:g}.",
        f"The same: {', '.join(same)}." if same else "",
    ]
    for one in inconsistencies:
        where = f", by {', '.join(f'images[{frame}]' for frame in one.frames)}" if one.frames else ""
        sentences.append(f"Not the same: {one.aspect} ({format_score(one.probability, threshold)}){where}.")
        if judgements.descriptions:
            at = [aspect.name for aspect in aspects].index(one.aspect)
            quotes = (f'images[{frame}] "{texts[at]}"' for frame, texts in enumerate(judgements.descriptions))
            sentences.append(f"In the model's words: {', '.join(quotes)}.")
    if odd_frame is not None:
        sentences.append(f"images[{odd_frame}] does not fit the others ({format_score(odd[odd_frame], 0.5)}).")
    if judgements.descriptions:
        sentences.append("Each image was described, and the descriptions were checked against the other images.")
    elif judgements.joint is None:
        sentences.append("The images were compared in pairs only, since all together do not fit the model's context.")
    sentences.append(uncertainty_note(sum(judgements.masses) / max(1, len(judgements.masses))))
    return " ".join(filter(None, sentences))
