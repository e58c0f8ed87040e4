"""Results of scene validation and of consistency checks."""

from dataclasses import dataclass

from adapters.base.content import Usage


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a scene's description, and the probability that the image shows it."""

    text: str
    probability: float
    """0..1."""


@dataclass(frozen=True, slots=True)
class SceneValidation:
    """How well an image matches a description. Computed in `adapters/vision/`."""

    is_valid: bool
    """Whether `match_score` reaches the threshold."""
    match_score: float
    """0..1."""
    explanation: str
    """Composed from the other fields; the model writes none of it."""
    matched: tuple[Element, ...]
    """Elements whose probability reaches the threshold, in the description's order."""
    mismatched: tuple[Element, ...]
    """The other elements."""
    usage: Usage
    generation_ms: float


@dataclass(frozen=True, slots=True)
class AspectConsistency:
    """The probability that all images agree in one aspect."""

    name: str
    probability: float
    """0..1: the geometric mean of `pairs` and `whole`."""
    pairs: float
    """The lowest mean pairwise probability of any image."""
    whole: float | None
    """The probability for all images judged together; None: they were not."""


@dataclass(frozen=True, slots=True)
class PairConsistency:
    """The probabilities that two images agree."""

    first: int
    """Index of the image, from 0."""
    second: int
    probabilities: tuple[float, ...]
    """One per aspect."""


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """An aspect in which some images differ."""

    aspect: str
    probability: float
    """That they agree in it."""
    frames: tuple[int, ...]
    """Indices of the images that disagree with the others; empty if no image stands out."""


@dataclass(frozen=True, slots=True)
class SceneConsistency:
    """Whether images belong together. Computed in `adapters/vision/`."""

    is_consistent: bool
    """Whether every aspect reaches the threshold."""
    consistency_score: float
    """0..1: the lowest probability of all aspects."""
    analysis: str
    """Composed from the other fields; the model writes none of it."""
    aspects: tuple[AspectConsistency, ...]
    pairs: tuple[PairConsistency, ...]
    inconsistencies: tuple[Inconsistency, ...]
    odd_frame: int | None
    """Index of the image that does not fit the others, if there is one."""
    odd_probabilities: tuple[float, ...]
    """One per image: that it is the odd one out; empty for two images."""
    all_at_once: bool
    """Whether all images were also judged together; False: they did not fit the context, or were described."""
    descriptions: tuple[tuple[str, ...], ...]
    """Per image, the model's description of each aspect; empty if the images themselves were compared."""
    usage: Usage
    generation_ms: float
