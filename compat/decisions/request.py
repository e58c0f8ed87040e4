"""POST /v1/decisions: OpenAI's schemas, parse and render. Probabilities are the model's token probabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.base import ImagePart, Judgement, JudgeRequest, JudgeResult, Usage
from compat.decisions.input import MAX_BREAKPOINTS, DecisionInput, breakpoints, evidence
from compat.decisions.questions import Asked, Choice, Predicate, question
from compat.errors import invalid
from compat.wire import WireReply, WireRequest, validate

MAX_QUESTIONS = 400
REFUSED_BELOW = 0.01
"""If all answers together have less probability than this, the reply is a refusal."""

Label = Annotated[str, Field(max_length=64)]


class PromptCacheOptions(WireRequest):
    """How prefixes are cached. This server caches all of them while there is space."""

    mode: Literal["implicit", "explicit"] | None = None
    ttl: Literal["30m"] | None = None


class DecisionCreateRequest(WireRequest):
    """The body of POST /v1/decisions."""

    model: Annotated[str, Field(max_length=256)]
    input: DecisionInput
    questions: Annotated[list[Asked], Field(min_length=1, max_length=MAX_QUESTIONS, fail_fast=True)]
    prompt_cache_key: Label | None = None
    """The caller's label; has no effect, since every prompt's prefix is cached."""
    prompt_cache_options: PromptCacheOptions | None = None
    safety_identifier: Label | None = None
    """The caller's label; has no effect."""


@dataclass(frozen=True, slots=True)
class DecisionCall:
    """A parsed request."""

    model: str
    request: JudgeRequest
    asked: Sequence[Asked]


class PredicateAnswer(WireReply, kw_only=True):
    """The probability that the statement is true."""

    type: Literal["predicate"] = "predicate"
    name: str | None
    probability: float


class ChoiceProbability(WireReply):
    """The probability of one value."""

    value: str | bool
    probability: float


class ChoiceAnswer(WireReply, kw_only=True):
    """The most likely value, and the probability of each."""

    type: Literal["choice"] = "choice"
    name: str | None
    choice: str | bool
    confidence: float
    """The probability of the chosen value."""
    probabilities: list[ChoiceProbability]


class ScoreProbability(WireReply):
    """The probability of one level."""

    label: str
    value: int
    """Its position on the scale, from 0."""
    probability: float


class ScoreAnswer(WireReply, kw_only=True):
    """The expected level, and the probability of each."""

    type: Literal["score"] = "score"
    name: str | None
    score: float
    """From 0, the first level, to the number of levels minus 1."""
    confidence: float
    """The probability of the most likely level."""
    probabilities: list[ScoreProbability]


class RefusalAnswer(WireReply, kw_only=True):
    """The model gave none of the answers."""

    type: Literal["refusal"] = "refusal"
    name: str | None


Answer = PredicateAnswer | ChoiceAnswer | ScoreAnswer | RefusalAnswer


class InputTokensDetails(WireReply):
    """Details of `input_tokens`."""

    cache_write_tokens: int
    cached_tokens: int


class OutputTokensDetails(WireReply):
    """Details of `output_tokens`."""

    reasoning_tokens: int


class DecisionUsage(WireReply):
    """Tokens of all questions together."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class Decision(WireReply):
    """The reply."""

    answers: list[Answer]
    model: str
    usage: DecisionUsage


def parse(body: Mapping[str, Any]) -> DecisionCall:
    """The request behind a JSON body.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(DecisionCreateRequest, body)
    marked, options = breakpoints(wire.input), wire.prompt_cache_options
    if marked > MAX_BREAKPOINTS:
        raise invalid("input", f"has {marked} cache breakpoints; the maximum is {MAX_BREAKPOINTS}")
    if options is not None and options.mode == "explicit" and not marked:
        reason = "'explicit' requires cache breakpoints in 'input'; add some, or use 'implicit'"
        raise invalid("prompt_cache_options.mode", reason)
    content = evidence(wire.input)
    images_only = all(isinstance(part, ImagePart) for part in content)
    questions = [question(one, f"questions[{at}]", images_only=images_only) for at, one in enumerate(wire.questions)]
    return DecisionCall(wire.model, JudgeRequest(content, tuple(questions)), wire.questions)


def render(call: DecisionCall, model: str, result: JudgeResult) -> Decision:
    """The reply: answers in the order of the questions."""
    answers = [_answer(asked, judged) for asked, judged in zip(call.asked, result.judgements, strict=True)]
    return Decision(answers, model, _usage(result.usage))


def _answer(asked: Asked, judged: Judgement) -> Answer:
    chances, name = judged.probabilities, asked.name
    best = max(range(len(chances)), key=chances.__getitem__)
    if judged.mass < REFUSED_BELOW:
        return RefusalAnswer(name=name)
    if isinstance(asked, Predicate):
        return PredicateAnswer(name=name, probability=chances[0])
    if isinstance(asked, Choice):
        values = [one.value for one in asked.choices]
        return ChoiceAnswer(
            name=name,
            choice=values[best],
            confidence=chances[best],
            probabilities=[ChoiceProbability(value, one) for value, one in zip(values, chances, strict=True)],
        )
    labels = [one.label for one in asked.levels]
    return ScoreAnswer(
        name=name,
        score=sum(value * one for value, one in enumerate(chances)),
        confidence=chances[best],
        probabilities=[
            ScoreProbability(label, value, one) for value, (label, one) in enumerate(zip(labels, chances, strict=True))
        ],
    )


def _usage(usage: Usage) -> DecisionUsage:
    return DecisionUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputTokensDetails(
            cache_write_tokens=usage.prompt_tokens - usage.cached_tokens, cached_tokens=usage.cached_tokens
        ),
        output_tokens=usage.completion_tokens,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=usage.reasoning_tokens),
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
    )
