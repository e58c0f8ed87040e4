"""Checks whether an image matches a description.

One call asks about the whole description and each of its elements; the result is computed from the probabilities of the
answers.
"""

import math
from collections.abc import Sequence

from adapters.base import Element, ImagePart, Judgement, JudgeRequest, Media, Question, SceneValidation, TextAdapter
from adapters.vision.decomposition import Decomposition, decompose
from adapters.vision.explanations import check_supports_images, format_score, naming_param, uncertainty_note

THRESHOLD = 0.5
"""Default threshold."""


async def validate_scene(
    adapter: TextAdapter,
    image: Media,
    description: str,
    *,
    threshold: float = THRESHOLD,
    decomposition: Decomposition | None = None,
) -> SceneValidation:
    """Checks whether an image matches a description, and which of its elements it shows.

    The score is the geometric mean of two probabilities: that the image matches the description as a whole (VQAScore,
    arXiv:2404.01291), and the mean over its elements. It is low if either is: for an image with all elements but not
    the scene, and for one with the right mood that lacks the elements.

    Args:
        adapter: A model that supports images.
        image: The image.
        description: The description.
        threshold: 0..1: minimum score of a valid scene and of a matched element.
        decomposition: The description's elements; None: it is split by the rule.

    Raises:
        WrongModelKind: The model does not support images.
        UnsupportedOption: The description has no words.
        AdapterError: As `TextAdapter.judge`.
    """
    check_supports_images(adapter)
    description = " ".join(description.split())
    split = decomposition or await decompose(adapter, description, "rule")
    questions = [
        Question(f'Does the image match this description: "{description}"?'),
        *(Question(f'Does the image show this: "{text}"?') for text in split.elements),
    ]
    with naming_param("image"):
        result = await adapter.judge(JudgeRequest((ImagePart(image),), tuple(questions)))
    whole, *probabilities = (judgement.probabilities[0] for judgement in result.judgements)
    judged = [Element(text, one) for text, one in zip(split.elements, probabilities, strict=True)]
    score = math.sqrt(whole * sum(probabilities) / len(probabilities))
    matched = tuple(element for element in judged if element.probability >= threshold)
    mismatched = tuple(element for element in judged if element.probability < threshold)
    return SceneValidation(
        is_valid=score >= threshold,
        match_score=score,
        explanation=_explanation(score, threshold, whole, matched, mismatched, result.judgements),
        matched=matched,
        mismatched=mismatched,
        usage=split.usage + result.usage,
        generation_ms=split.generation_ms + result.generation_ms,
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
        f"{format_score(score, threshold)}, against a threshold of {threshold:g}.",
        f"As a whole it fits with a probability of {format_score(whole, threshold)}.",
    ]
    for label, group in (("Seen", matched), ("Not seen", mismatched)):
        if group:
            sentences.append(
                f"{label}: {', '.join(f'{one.text} ({format_score(one.probability, threshold)})' for one in group)}."
            )
    sentences.append(uncertainty_note(sum(judgement.mass for judgement in judgements) / len(judgements)))
    return " ".join(filter(None, sentences))
