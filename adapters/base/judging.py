"""Questions that a language model answers with the probabilities of their options."""

from dataclasses import dataclass

from adapters.base.content import Part, Usage


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer is one of `options`."""

    text: str
    options: tuple[str, ...] = ("yes", "no")
    content: tuple[Part, ...] = ()
    """What belongs to this question alone, and follows its text."""


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """Questions about shared content; each is answered alone, as if the others had not been asked."""

    content: tuple[Part, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer to one question, from the model's own next-token distribution."""

    probabilities: tuple[float, ...]
    """One per option, in order; they sum to one (renormalised over the options' tokens)."""
    mass: float
    """0..1: how much of the whole distribution fell on the options. Near zero: the model did not mean to answer."""


@dataclass(frozen=True, slots=True)
class JudgeResult:
    """All answers, in the order of the questions."""

    judgements: tuple[Judgement, ...]
    usage: Usage
    generation_ms: float
