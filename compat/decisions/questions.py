"""The questions of a decision: OpenAI's schemas, and how each is put to a model."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, Tag

from adapters.base import Part, Question, TextPart
from compat.decisions.input import QuestionPart, parts_of
from compat.errors import RequestError
from compat.responses.input import TEXT_OR_LIST
from compat.wire import WireRequest

MAX_CHOICES = 255
MAX_LEVELS = 10
MAX_WORDS = 3
"""Of a level's label that is itself the answer; where one is longer, levels are answered by their numbers."""
MAX_PARTS = 64
"""Of one question's instructions."""

Name = Annotated[str, Field(min_length=1, max_length=256)]
Value = Annotated[str, Field(max_length=1024)]
Description = Annotated[str, Field(max_length=8192)]


class _Asked(WireRequest):
    instructions: Annotated[
        Annotated[str, Tag("as_text")]
        | Annotated[list[QuestionPart], Field(min_length=1, max_length=MAX_PARTS, fail_fast=True), Tag("as_list")],
        TEXT_OR_LIST,
    ]
    name: Name | None = None


class Predicate(_Asked):
    """How likely it is that something is so."""

    type: Literal["predicate"]


class ChoiceOption(WireRequest):
    """A value to choose; a text and a boolean of the same letters are two."""

    value: StrictBool | Value
    description: Description | None = None


class Choice(_Asked):
    """Which of some values fits."""

    type: Literal["choice"]
    choices: Annotated[list[ChoiceOption], Field(min_length=2, max_length=MAX_CHOICES, fail_fast=True)]


class Level(WireRequest):
    """A step of a scale."""

    label: Annotated[str, Field(min_length=1, max_length=1024)]
    description: Description | None = None


class Score(_Asked):
    """Where on a scale something lies, from its lowest level to its highest."""

    type: Literal["score"]
    levels: Annotated[list[Level], Field(min_length=2, max_length=MAX_LEVELS, fail_fast=True)]


Asked = Annotated[Predicate | Choice | Score, Field(discriminator="type")]


def question(asked: Asked, param: str, *, picture_only: bool) -> Question:
    """The question as the seam has it. Descriptions of answers follow its text.

    Args:
        asked: On the wire.
        param: Where it came from, for errors.
        picture_only: Whether all that it is about are pictures: a statement is then asked for as scenes are validated.

    Raises:
        RequestError: It says nothing, its answers cannot be told apart, or an image is unusable.
    """
    text, content = _instructions(asked, f"{param}.instructions")
    if isinstance(asked, Predicate):
        if not content and not text.endswith("?"):
            text = f'Does the image show this: "{text}"?' if picture_only else f'Is this true: "{text}"?'
        return Question(text, content=content)
    if isinstance(asked, Choice):
        options = _values(asked, param)
        legend = [(option, one.description) for option, one in zip(options, asked.choices, strict=True)]
    else:
        options, legend = _levels(asked, param)
    told = "\n".join(f"{option}: {description}" for option, description in legend if description)
    if told and content:
        content = (*content, TextPart(f"\n{told}"))
    return Question(f"{text}\n{told}" if told and not content else text, tuple(options), content)


def _instructions(asked: Asked, param: str) -> tuple[str, tuple[Part, ...]]:
    """The text that a question begins with, and what follows it."""
    said = asked.instructions
    parts: tuple[Part, ...] = (TextPart(said),) if isinstance(said, str) else parts_of(said, param)
    if all(isinstance(part, TextPart) and not part.text.strip() for part in parts):
        raise RequestError(f"Invalid '{param}': the question is empty.", param=param)
    first = parts[0]
    return (first.text.strip(), parts[1:]) if isinstance(first, TextPart) else ("", parts)


def _values(asked: Choice, param: str) -> list[str]:
    """The values as a model may say them; texts that read like a boolean beside them are put in quotes."""
    written = [str(one.value).lower() if isinstance(one.value, bool) else one.value.strip() for one in asked.choices]
    booleans = {text for text, one in zip(written, asked.choices, strict=True) if isinstance(one.value, bool)}
    found: dict[str, int] = {}
    for index, (text, one) in enumerate(zip(written, asked.choices, strict=True)):
        shown = f'"{text}"' if text.lower() in booleans and not isinstance(one.value, bool) else text
        where = f"{param}.choices[{index}].value"
        if not text:
            raise RequestError(f"Invalid '{where}': a choice must say something.", param=where)
        if found.setdefault(shown, index) != index:
            raise RequestError(f"Invalid '{where}': {text[:64]!r} is there twice.", param=where)
    return list(found)


def _levels(asked: Score, param: str) -> tuple[list[str], list[tuple[str, str | None]]]:
    """The answers of a scale, and what is to be said of each."""
    labels = [one.label.strip() for one in asked.levels]
    for index, label in enumerate(labels):
        if not label or label in labels[:index]:
            where = f"{param}.levels[{index}].label"
            raise RequestError(f"Invalid '{where}': labels must differ and say something.", param=where)
    if all(len(label.split()) <= MAX_WORDS for label in labels):
        return labels, [(label, one.description) for label, one in zip(labels, asked.levels, strict=True)]
    numbers = [str(number) for number in range(len(labels))]
    told = [f"{one.label} ({one.description})" if one.description else one.label for one in asked.levels]
    return numbers, list(zip(numbers, told, strict=True))
