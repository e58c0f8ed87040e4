"""Results of scene validation and of consistency checks."""

from dataclasses import dataclass

from adapters.base.content import Usage


@dataclass(frozen=True, slots=True)
class Element:
    """A part of a scene's description, and how probable the model finds it in the picture."""

    text: str
    probability: float
    """0..1."""


@dataclass(frozen=True, slots=True)
class SceneValidation:
    """How well a picture shows what a description says. Made by `adapters/vision/`."""

    is_valid: bool
    """Whether `match_score` reaches the threshold."""
    match_score: float
    """0..1."""
    explanation: str
    """Composed of the facts beside it, never written by the model."""
    matched: tuple[Element, ...]
    """Elements whose probability reaches the threshold, in the description's order."""
    mismatched: tuple[Element, ...]
    """The others."""
    usage: Usage
    generation_ms: float


@dataclass(frozen=True, slots=True)
class AspectConsistency:
    """How probably all of some pictures are the same in one aspect."""

    name: str
    probability: float
    """0..1: the two that follow, together."""
    pairs: float
    """Of the picture that agrees least with the others, compared two by two."""
    whole: float | None
    """Of all pictures at once; None where they were not judged so."""


@dataclass(frozen=True, slots=True)
class PairConsistency:
    """How probably two pictures are the same."""

    first: int
    """From 0."""
    second: int
    probabilities: tuple[float, ...]
    """Of each aspect."""


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """An aspect in which some pictures differ."""

    aspect: str
    probability: float
    """That they are the same in it."""
    frames: tuple[int, ...]
    """The pictures that do not agree with the others; empty where none stands out."""


@dataclass(frozen=True, slots=True)
class SceneConsistency:
    """Whether some pictures belong together. Made by `adapters/vision/`."""

    is_consistent: bool
    """Whether every aspect reaches the threshold."""
    consistency_score: float
    """0..1: the lowest aspect's."""
    analysis: str
    """Composed of the facts beside it, never written by the model."""
    aspects: tuple[AspectConsistency, ...]
    pairs: tuple[PairConsistency, ...]
    inconsistencies: tuple[Inconsistency, ...]
    odd_frame: int | None
    """The picture that does not fit the others, where there is one."""
    odd_probabilities: tuple[float, ...]
    """Of each picture, that it is the odd one; empty for two."""
    all_at_once: bool
    """Whether all pictures were judged together, too; False: they did not fit the context, or were described."""
    descriptions: tuple[tuple[str, ...], ...]
    """Of each picture, what the model says of each aspect; empty where the pictures themselves were compared."""
    usage: Usage
    generation_ms: float
