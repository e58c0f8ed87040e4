"""Whether keyframes belong together: judged in pairs and all at once, aspect by aspect; the odd one out is named."""

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
from adapters.vision.caption_comparison import described
from adapters.vision.explanations import all_of, blaming, check_sees, doubt, shown

Comparison = Literal["pictures", "descriptions"]
"""How images are compared: the model looks at several, or at one at a time and at what it said of the others."""

ASPECTS = ("subject", "colours", "setting", "lighting", "style")
"""What is compared where nobody says what."""
MAX_FRAMES = 32
ALL_PAIRS = 9
"""Up to so many images, each is compared with each; beyond, with the `REACH` before and the `REACH` after it."""
REACH = 4
UNLIKELY = 1e-3
"""No single opinion on which image is odd counts for more than this leaves."""
AT_ONCE = 8
"""Pairs that are judged at the same time."""
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
"""Images are named by their numbers: in words where those begin differently, in digits beyond."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """What was said of all images at once."""

    same: tuple[float, ...]
    """Of each aspect."""
    odd: tuple[float, ...]
    """Of each image, that it is the one that does not fit; empty for two images."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the judgement of a set is made of."""

    whole: _Whole | None
    pairs: tuple[PairConsistency, ...]
    said: tuple[tuple[str, ...], ...]
    """Of each image, of each aspect; empty where they were not described."""
    usage: Usage
    masses: tuple[float, ...]


async def check_consistency(
    adapter: TextAdapter,
    images: Sequence[Media],
    *,
    aspects: Sequence[str] = ASPECTS,
    threshold: float = 0.5,
    comparison: Comparison = "pictures",
) -> SceneConsistency:
    """Whether images show the same, by aspects.

    An aspect's score is the geometric mean of two probabilities: that of the image that agrees least with those it is
    compared with (the mean over its pairs), and that of all images judged at once. The score of the set is its lowest
    aspect's. Where all images together do not fit the model's context, pairs alone decide, and the result says so; so
    do they where the model's descriptions are compared (`adapters.vision.caption_comparison`), which asks more of its
    time and less of its eyes.

    Args:
        adapter: A model with eyes.
        images: 2..32.
        aspects: What is to be the same, in words that follow "the same".
        threshold: 0..1: the set is consistent where every aspect's score reaches it.
        comparison: What is compared.

    Raises:
        WrongModelKind: The model has no eyes.
        ContextLengthExceeded: Two images alone do not fit.
        AdapterError: As `TextAdapter.judge`.
    """
    check_sees(adapter)
    begun = time.perf_counter()
    parts = [ImagePart(image) for image in images]
    with blaming("images"):
        seen = await (_described if comparison == "descriptions" else _looked_at)(adapter, parts, aspects)
    whole, pairs = seen.whole, seen.pairs
    judged = tuple(_aspect(name, at, pairs, whole, len(images)) for at, name in enumerate(aspects))
    wrong = [at for at, aspect in enumerate(judged) if aspect.probability < threshold]
    score = min(aspect.probability for aspect in judged)
    odd = _odd(pairs, whole, wrong or list(range(len(aspects))), len(images))
    likeliest = max(range(len(odd)), key=odd.__getitem__) if odd and wrong else None
    odd_frame = likeliest if likeliest is not None and odd[likeliest] >= 0.5 else None
    inconsistencies = tuple(
        Inconsistency(aspects[at], judged[at].probability, _apart(pairs, at, len(images), threshold)) for at in wrong
    )
    return SceneConsistency(
        is_consistent=not wrong,
        consistency_score=score,
        analysis=_analysis(score, threshold, judged, inconsistencies, odd_frame, odd, seen),
        aspects=judged,
        pairs=pairs,
        inconsistencies=inconsistencies,
        odd_frame=odd_frame,
        odd_probabilities=odd,
        all_at_once=whole is not None,
        descriptions=seen.said,
        usage=seen.usage,
        generation_ms=(time.perf_counter() - begun) * 1000,
    )


def partners(count: int) -> list[tuple[int, int]]:
    """Which images are compared: all pairs of a few, neighbours in a circle of many."""
    if count <= ALL_PAIRS:
        return list(combinations(range(count), 2))
    near = {tuple(sorted((at, (at + step) % count))) for at in range(count) for step in range(1, REACH + 1)}
    return sorted((first, second) for first, second in near)


async def _looked_at(adapter: TextAdapter, parts: Sequence[ImagePart], aspects: Sequence[str]) -> _Seen:
    whole, judged_whole = await _at_once(adapter, parts, aspects)
    pairs, results = await _in_pairs(adapter, parts, aspects)
    if judged_whole:
        results.append(judged_whole)
    masses = tuple(judgement.mass for result in results for judgement in result.judgements)
    return _Seen(whole, tuple(pairs), (), sum((result.usage for result in results), Usage()), masses)


async def _described(adapter: TextAdapter, parts: Sequence[ImagePart], aspects: Sequence[str]) -> _Seen:
    found = await described(adapter, parts, aspects, partners(len(parts)))
    return _Seen(None, found.pairs, found.said, found.usage, found.masses)


async def _at_once(
    adapter: TextAdapter, parts: Sequence[ImagePart], aspects: Sequence[str]
) -> tuple[_Whole | None, JudgeResult | None]:
    """The judgement of all images together; None where they do not fit."""
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
    return _Whole(same, result.judgements[-1].probabilities if count > 2 else ()), result


async def _in_pairs(
    adapter: TextAdapter, parts: Sequence[ImagePart], aspects: Sequence[str]
) -> tuple[list[PairConsistency], list[JudgeResult]]:
    questions = tuple(Question(f"Do the images show the same {aspect}?") for aspect in aspects)
    turn = asyncio.Semaphore(AT_ONCE)

    async def judge(first: int, second: int) -> JudgeResult:
        async with turn:
            return await adapter.judge(JudgeRequest((parts[first], parts[second]), questions))

    chosen = partners(len(parts))
    results = await all_of([judge(first, second) for first, second in chosen])
    found = [
        PairConsistency(first, second, tuple(_yes(judgement) for judgement in result.judgements))
        for (first, second), result in zip(chosen, results, strict=True)
    ]
    return found, results


def _yes(judgement: Judgement) -> float:
    return judgement.probabilities[0]


def _aspect(
    name: str, at: int, pairs: Sequence[PairConsistency], whole: _Whole | None, count: int
) -> AspectConsistency:
    least = min(_agreement(pairs, at, frame) for frame in range(count))
    if whole is None:
        return AspectConsistency(name, least, least, None)
    return AspectConsistency(name, math.sqrt(least * whole.same[at]), least, whole.same[at])


def _agreement(pairs: Sequence[PairConsistency], at: int, frame: int) -> float:
    """The mean probability of the pairs that an image is in, in one aspect."""
    found = [pair.probabilities[at] for pair in pairs if frame in (pair.first, pair.second)]
    return sum(found) / len(found)


def _odd(
    pairs: Sequence[PairConsistency], whole: _Whole | None, aspects: Sequence[int], count: int
) -> tuple[float, ...]:
    """Of each image, how probably it is the odd one, if one is: its pairs differ, and all other pairs are the same.

    The pairs are taken for independent (naive Bayes); what was said of all images at once is one more opinion.
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
    """The images that do not agree with those they are compared with."""
    return tuple(frame for frame in range(count) if _agreement(pairs, at, frame) < threshold)


def _analysis(
    score: float,
    threshold: float,
    aspects: Sequence[AspectConsistency],
    inconsistencies: Sequence[Inconsistency],
    odd_frame: int | None,
    odd: Sequence[float],
    seen: _Seen,
) -> str:
    """The facts in words; images are called as the request has them."""
    same = [f"{one.name} ({shown(one.probability, threshold)})" for one in aspects if one.probability >= threshold]
    sentences = [
        f"The images are {'not ' if inconsistencies else ''}consistent: their score is {shown(score, threshold)}, "
        f"against a threshold of {threshold:g}.",
        f"The same: {', '.join(same)}." if same else "",
    ]
    for one in inconsistencies:
        where = f", by {', '.join(f'images[{frame}]' for frame in one.frames)}" if one.frames else ""
        sentences.append(f"Not the same: {one.aspect} ({shown(one.probability, threshold)}){where}.")
        if seen.said:
            at = [aspect.name for aspect in aspects].index(one.aspect)
            told = (f'images[{frame}] "{said[at]}"' for frame, said in enumerate(seen.said))
            sentences.append(f"In the model's words: {', '.join(told)}.")
    if odd_frame is not None:
        sentences.append(f"images[{odd_frame}] does not fit the others ({shown(odd[odd_frame], 0.5)}).")
    if seen.said:
        sentences.append("Each was described, and the others were held against that.")
    elif seen.whole is None:
        sentences.append("They were compared in pairs only: together they do not fit the model's context.")
    sentences.append(doubt(sum(seen.masses) / max(1, len(seen.masses))))
    return " ".join(filter(None, sentences))
