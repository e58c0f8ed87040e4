"""The questions of a decision, from OpenAI's schemas to questions for a model."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from adapters.base import Part, Question, TextPart
from compat.decisions.input import QuestionPart, parts_of
from compat.errors import invalid
from compat.wire import WireRequest

MAX_CHOICES = 255
MAX_LEVELS = 10
MAX_WORDS = 3
"""Of a label that is used as the answer. If one is longer, levels are answered by their numbers."""
MAX_PARTS = 64
"""Of one question's instructions."""

Name = Annotated[str, Field(min_length=1, max_length=256)]
Value = Annotated[str, Field(max_length=1024)]
Description = Annotated[str, Field(max_length=8192)]


class _Asked(WireRequest):
    instructions: str | Annotated[list[QuestionPart], Field(min_length=1, max_length=MAX_PARTS, fail_fast=True)]
    name: Name | None = None


class Predicate(_Asked):
    """Whether a statement is true."""

    type: Literal["predicate"]


class ChoiceOption(WireRequest):
    """A value to choose. "true" and true are different values."""

    value: StrictBool | Value
    description: Description | None = None


class Choice(_Asked):
    """Which of several values fits."""

    type: Literal["choice"]
    choices: Annotated[list[ChoiceOption], Field(min_length=2, max_length=MAX_CHOICES, fail_fast=True)]


class Level(WireRequest):
    """A level of a scale."""

    label: Annotated[str, Field(min_length=1, max_length=1024)]
    description: Description | None = None


class Score(_Asked):
    """A position on a scale, from the lowest level to the highest."""

    type: Literal["score"]
    levels: Annotated[list[Level], Field(min_length=2, max_length=MAX_LEVELS, fail_fast=True)]


Asked = Annotated[Predicate | Choice | Score, Field(discriminator="type")]


def question(asked: Asked, param: str, *, images_only: bool) -> Question:
    """The question in the adapter contract. Descriptions of answers follow its text.

    Args:
        asked: The request's question.
        param: Its path in the request, for errors.
        images_only: Whether the input is only images: a statement is then asked as in scene validation.

    Raises:
        RequestError: It is blank, two of its answers are equal, or an image is invalid.
    """
    text, content = _instructions(asked, f"{param}.instructions")
    if isinstance(asked, Predicate):
        if not content and not text.endswith("?"):
            text = f'Does the image show this: "{text}"?' if images_only else f'Is this true: "{text}"?'
        return Question(text, content=content)
    if isinstance(asked, Choice):
        options = _values(asked, param)
        legend = [(option, one.description) for option, one in zip(options, asked.choices, strict=True)]
    else:
        options, legend = _levels(asked, param)
    descriptions = "\n".join(f"{option}: {text}" for option, text in legend if text)
    if descriptions and content:
        content = (*content, TextPart(f"\n{descriptions}"))
    return Question(f"{text}\n{descriptions}" if descriptions and not content else text, tuple(options), content)


def _instructions(asked: Asked, param: str) -> tuple[str, tuple[Part, ...]]:
    """The text that a question begins with, and what follows it."""
    given = asked.instructions
    parts: tuple[Part, ...] = (TextPart(given),) if isinstance(given, str) else parts_of(given, param)
    if all(isinstance(part, TextPart) and not part.text.strip() for part in parts):
        raise invalid(param, "must not be blank")
    first = parts[0]
    return (first.text.strip(), parts[1:]) if isinstance(first, TextPart) else ("", parts)


def _values(asked: Choice, param: str) -> list[str]:
    """The values as a model writes them. Strings that are equal to a boolean value are quoted."""
    texts = [str(one.value).lower() if isinstance(one.value, bool) else one.value.strip() for one in asked.choices]
    booleans = {text for text, one in zip(texts, asked.choices, strict=True) if isinstance(one.value, bool)}
    found: dict[str, int] = {}
    for index, (text, one) in enumerate(zip(texts, asked.choices, strict=True)):
        shown = f'"{text}"' if text.lower() in booleans and not isinstance(one.value, bool) else text
        where = f"{param}.choices[{index}].value"
        if not text:
            raise invalid(where, "must not be blank")
        if found.setdefault(shown, index) != index:
            raise invalid(where, f"an earlier choice has the value {text[:64]!r}, too")
    return list(found)


def _levels(asked: Score, param: str) -> tuple[list[str], list[tuple[str, str | None]]]:
    """The answers of a scale, each with its description."""
    labels = [one.label.strip() for one in asked.levels]
    for index, label in enumerate(labels):
        if not label or label in labels[:index]:
            where = f"{param}.levels[{index}].label"
            raise invalid(
                where, f"an earlier level has the label {label[:64]!r}, too" if label else "must not be blank"
            )
    if all(len(label.split()) <= MAX_WORDS for label in labels):
        return labels, [(label, one.description) for label, one in zip(labels, asked.levels, strict=True)]
    numbers = [str(number) for number in range(len(labels))]
    descriptions = [f"{one.label} ({one.description})" if one.description else one.label for one in asked.levels]
    return numbers, list(zip(numbers, descriptions, strict=True))
