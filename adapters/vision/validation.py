"""Whether an image shows what a description says, on any model that judges images.

The whole description and each element of it are asked about in one call, and everything in the result is computed from
the probabilities that come back.
"""

import math
from collections.abc import Sequence

from adapters.base import Element, ImagePart, Judgement, JudgeRequest, Media, Question, SceneValidation, TextAdapter
from adapters.vision.decomposition import Decomposition, decompose
from adapters.vision.explanations import blaming, check_sees, doubt, shown

THRESHOLD = 0.5
"""Of a model that has none of its own."""


async def validate_scene(
    adapter: TextAdapter,
    image: Media,
    description: str,
    *,
    threshold: float = THRESHOLD,
    decomposition: Decomposition | None = None,
) -> SceneValidation:
    """Whether an image shows what a description says, and which parts of it.

    The score is the geometric mean of two probabilities: that the image matches the description as a whole (VQAScore,
    arXiv:2404.01291), and the mean over its elements. So it is low when either is: an image that has all the things,
    but not the scene, fails like one that has the mood and lacks the things.

    Args:
        adapter: A model with eyes.
        image: The image.
        description: In words.
        threshold: 0..1: a scene is valid, and an element matched, from here on.
        decomposition: The description's elements; None: they are cut by the rule.

    Raises:
        WrongModelKind: The model has no eyes.
        UnsupportedOption: The description names nothing.
        AdapterError: As `TextAdapter.judge`.
    """
    check_sees(adapter)
    description = " ".join(description.split())
    parts = decomposition or await decompose(adapter, description, "rule")
    questions = [
        Question(f'Does the image match this description: "{description}"?'),
        *(Question(f'Does the image show this: "{text}"?') for text in parts.elements),
    ]
    with blaming("image"):
        result = await adapter.judge(JudgeRequest((ImagePart(image),), tuple(questions)))
    whole, *chances = (judgement.probabilities[0] for judgement in result.judgements)
    judged = [Element(text, chance) for text, chance in zip(parts.elements, chances, strict=True)]
    score = math.sqrt(whole * sum(chances) / len(chances))
    matched = tuple(element for element in judged if element.probability >= threshold)
    mismatched = tuple(element for element in judged if element.probability < threshold)
    return SceneValidation(
        is_valid=score >= threshold,
        match_score=score,
        explanation=_explanation(score, threshold, whole, matched, mismatched, result.judgements),
        matched=matched,
        mismatched=mismatched,
        usage=parts.usage + result.usage,
        generation_ms=parts.generation_ms + result.generation_ms,
    )


def _explanation(
    score: float,
    threshold: float,
    whole: float,
    matched: Sequence[Element],
    mismatched: Sequence[Element],
    judgements: Sequence[Judgement],
) -> str:
    sentences = [
        f"The image {'matches' if score >= threshold else 'does not match'} the description: its score is "
        f"{shown(score, threshold)}, against a threshold of {threshold:g}.",
        f"As a whole it fits with a probability of {shown(whole, threshold)}.",
    ]
    for label, group in (("Seen", matched), ("Not seen", mismatched)):
        if group:
            sentences.append(
                f"{label}: {', '.join(f'{one.text} ({shown(one.probability, threshold)})' for one in group)}."
            )
    sentences.append(doubt(sum(judgement.mass for judgement in judgements) / len(judgements)))
    return " ".join(filter(None, sentences))
