"""Scene validation on any model that judges images. Plain logic on the seam: no engine is known here.

The description is cut into elements, the whole and each element are asked about in one call, and everything in the
result is computed from the probabilities that come back.
"""

import math
import re
from collections.abc import Iterator, Sequence

from adapters.base import (
    Element,
    ImagePart,
    Judgement,
    JudgeRequest,
    Media,
    Question,
    SceneValidation,
    TextAdapter,
)
from adapters.errors import UnsupportedOption, WrongModelKind

MAX_ELEMENTS = 32
"""Elements that are judged apart; what a longer description holds beyond counts in the judgement of the whole."""

UNSURE_BELOW = 0.5
"""Where yes and no together get less than this of the model's probability, the explanation says so."""

_CLAUSES = re.compile(r"\s*(?:[;:\n]|[.!?](?=\s|$)|\b(?:and|with|while)\b)\s*", re.IGNORECASE)
_COMMAS = re.compile(r"\s*,\s*")
_STARTS = re.compile(r"(?:a|an|the|one|two|three|four|five|some|many|several|no|\d+)\b", re.IGNORECASE)
_LONE_ADJECTIVE = re.compile(r"(?:a|an|the)\s+\S+", re.IGNORECASE)


def elements(description: str) -> tuple[str, ...]:
    """What a description names, one by one, in its order and its words.

    The rule: cut at the ends of sentences and at `; :` and line breaks, at the words "and", "with" and "while", and at
    commas. A comma between adjectives is no cut: a piece that is an article and one word stays with the piece after the
    comma, unless that begins with an article or a number ("a dark, mysterious forest", but "a fox, a bridge"). Pieces
    that say the same are taken once. At most `MAX_ELEMENTS`.
    """
    found: dict[str, str] = {}
    for clause in _CLAUSES.split(description):
        for piece in _joined([piece for piece in _COMMAS.split(clause) if piece]):
            text = piece.strip().strip("\"'().!?").strip()
            if any(map(str.isalnum, text)):
                found.setdefault(text.casefold(), text)
    return tuple(found.values())[:MAX_ELEMENTS]


def _joined(pieces: Sequence[str]) -> Iterator[str]:
    """The pieces of a clause, those that a comma between adjectives has parted put together again."""
    group: list[str] = []
    adjectives = False
    """Whether the group is an article and single words."""
    for piece in pieces:
        if group and not (adjectives and not _STARTS.match(piece)):
            yield ", ".join(group)
            group = []
        adjectives = (adjectives and " " not in piece) if group else bool(_LONE_ADJECTIVE.fullmatch(piece))
        group.append(piece)
    if group:
        yield ", ".join(group)


async def validate_scene(
    adapter: TextAdapter, image: Media, description: str, *, threshold: float = 0.5
) -> SceneValidation:
    """Whether a picture shows what a description says, and which parts of it.

    The score is the geometric mean of two probabilities: that the picture matches the description as a whole, and the
    mean over its elements. So it is low when either is: a picture that has all the things, but not the scene, fails
    like one that has the mood and lacks the things.

    Args:
        adapter: A model with eyes.
        image: The picture.
        description: In words.
        threshold: 0..1: a scene is valid, and an element matched, from here on.

    Raises:
        WrongModelKind: The model has no eyes.
        UnsupportedOption: The description names nothing.
        AdapterError: As `TextAdapter.judge`.
    """
    if not adapter.sees:
        raise WrongModelKind("This model has no eyes. Choose one of kind vision.", param="model")
    description = " ".join(description.split())
    texts = elements(description)
    if not texts:
        raise UnsupportedOption("The description names nothing that could be seen.", param="description")
    questions = [
        Question(f'Does the image match this description: "{description}"?'),
        *(Question(f'Does the image show this: "{text}"?') for text in texts),
    ]
    result = await adapter.judge(JudgeRequest((ImagePart(image),), tuple(questions)))
    whole, *parts = (judgement.probabilities[0] for judgement in result.judgements)
    judged = [Element(text, probability) for text, probability in zip(texts, parts, strict=True)]
    score = math.sqrt(whole * sum(parts) / len(parts))
    matched = tuple(element for element in judged if element.probability >= threshold)
    mismatched = tuple(element for element in judged if element.probability < threshold)
    return SceneValidation(
        is_valid=score >= threshold,
        match_score=score,
        explanation=_explanation(score, threshold, whole, matched, mismatched, result.judgements),
        matched=matched,
        mismatched=mismatched,
        usage=result.usage,
        generation_ms=result.generation_ms,
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
        f"{_shown(score, threshold)}, against a threshold of {threshold:g}.",
        f"As a whole it fits with a probability of {_shown(whole, threshold)}.",
    ]
    for label, group in (("Seen", matched), ("Not seen", mismatched)):
        if group:
            sentences.append(
                f"{label}: {', '.join(f'{one.text} ({_shown(one.probability, threshold)})' for one in group)}."
            )
    mass = sum(judgement.mass for judgement in judgements) / len(judgements)
    if mass < UNSURE_BELOW:
        sentences.append(
            f"The model hardly meant to answer: yes and no together had {mass:.2g} of its probability, so all of this "
            "says little."
        )
    return " ".join(sentences)


def _shown(value: float, threshold: float) -> str:
    """Two digits, or as many as it takes to stay on the true side of the threshold."""
    for digits in range(2, 9):
        text = f"{value:.{digits}f}"
        if (float(text) >= threshold) == (value >= threshold):
            return text
    return repr(value)
