"""Questions that a language model answers with the probabilities of their options."""

from dataclasses import dataclass

from adapters.base.content import Part, Usage


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer is one of `options`."""

    text: str
    options: tuple[str, ...] = ("yes", "no")
    content: tuple[Part, ...] = ()
    """Content of this question only; it follows the text."""


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """Questions about shared content. Each is answered independently of the others."""

    content: tuple[Part, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer to one question, from the model's next-token distribution."""

    probabilities: tuple[float, ...]
    """One per option, in order; they sum to one (renormalised over the options' tokens)."""
    mass: float
    """0..1: total probability of the options before normalisation. Near zero, the model would say something else."""


@dataclass(frozen=True, slots=True)
class JudgeResult:
    """All answers, in the order of the questions."""

    judgements: tuple[Judgement, ...]
    usage: Usage
    generation_ms: float
