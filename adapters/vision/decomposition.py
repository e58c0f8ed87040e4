"""Splits a description into elements, by a rule or by a model."""

import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from adapters.base import Message, TextAdapter, TextDelta, TextDone, TextPart, TextRequest, Usage
from adapters.errors import UnsupportedOption

MAX_ELEMENTS = 32
"""Maximum number of elements; further content counts only in the judgement of the whole description."""

MAX_ELEMENT_CHARACTERS = 200
MAX_CACHED = 1024

Method = Literal["rule", "model"]
"""How a description is split."""

_CLAUSES = re.compile(r"\s*(?:[;:\n]|[.!?](?=\s|$)|\b(?:and|with|while)\b)\s*", re.IGNORECASE)
_COMMAS = re.compile(r"\s*,\s*")
_STARTS = re.compile(r"(?:a|an|the|one|two|three|four|five|some|many|several|no|\d+)\b", re.IGNORECASE)
_LONE_ADJECTIVE = re.compile(r"(?:a|an|the)\s+\S+", re.IGNORECASE)


def elements(description: str) -> tuple[str, ...]:
    """The elements of a description, in its order and wording.

    It is split at the ends of sentences, at `; :` and line breaks, at the words "and", "with" and "while", and at
    commas, except those between adjectives: an article and one word stay with the text after the comma, unless that
    starts with an article or a number ("a dark, mysterious forest", but "a fox, a bridge"). Duplicates are removed.
    Returns at most `MAX_ELEMENTS`.
    """
    found: dict[str, str] = {}
    for clause in _CLAUSES.split(description):
        for piece in _joined([piece for piece in _COMMAS.split(clause) if piece]):
            text = piece.strip().strip("\"'().!?").strip()
            if any(map(str.isalnum, text)):
                found.setdefault(text.casefold(), text)
    return tuple(found.values())[:MAX_ELEMENTS]


def _joined(pieces: Sequence[str]) -> Iterator[str]:
    """Joins the pieces of a clause that were split at a comma between adjectives."""
    group: list[str] = []
    adjectives = False
    """Whether the group consists of an article and single words."""
    for piece in pieces:
        if group and not (adjectives and not _STARTS.match(piece)):
            yield ", ".join(group)
            group = []
        adjectives = (adjectives and " " not in piece) if group else bool(_LONE_ADJECTIVE.fullmatch(piece))
        group.append(piece)
    if group:
        yield ", ".join(group)


@dataclass(frozen=True, slots=True)
class Decomposition:
    """The elements of a description, and the usage of the model."""

    elements: tuple[str, ...]
    method: Method = "rule"
    """How they were found; "rule" also if the model returned no element of the description."""
    usage: Usage = field(default_factory=Usage)
    generation_ms: float = 0.0


class Decompositions:
    """Splits descriptions, with a cache: the same model splits the same description in the same way."""

    def __init__(self) -> None:
        """Starts with an empty cache."""
        self._known: OrderedDict[tuple[str, Method, str], Decomposition] = OrderedDict()

    async def of(self, adapter: TextAdapter, model: str, description: str, method: Method) -> Decomposition:
        """The elements of a description.

        Args:
            adapter: The model.
            model: Its name.
            description: The description.
            method: See `decompose`.

        Raises:
            UnsupportedOption: The description has no words.
            AdapterError: As `TextAdapter.generate`.
        """
        description = " ".join(description.split())
        key = (model if method == "model" else "", method, description)
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return Decomposition(known.elements, known.method)
        found = await decompose(adapter, description, method)
        self._known[key] = found
        if len(self._known) > MAX_CACHED:
            self._known.popitem(last=False)
        return found


async def decompose(adapter: TextAdapter, description: str, method: Method) -> Decomposition:
    """The elements of a description.

    "rule" splits it as `elements` does. "model" asks the model for a list, at temperature 0 and with a JSON schema; an
    item counts only if it shares a word with the description. If none does, the rule is used.

    Raises:
        UnsupportedOption: The description has no words.
        AdapterError: As `TextAdapter.generate`.
    """
    by_rule = elements(description)
    if not by_rule:
        raise UnsupportedOption("description has no words. Describe what the image should show.", param="description")
    if method == "rule":
        return Decomposition(by_rule)
    request = TextRequest(
        (Message("user", (TextPart(_ASK + json.dumps(description, ensure_ascii=False)),)),),
        max_tokens=512,
        temperature=0,
        output="json_schema",
        schema=_SCHEMA,
    )
    text, done = "", TextDone(Usage(), 0.0)
    async for event in adapter.generate(request):
        if isinstance(event, TextDelta):
            text += event.text
        else:
            done = event
    by_model = _parse_elements(text, description)
    return Decomposition(by_model or by_rule, "model" if by_model else "rule", done.usage, done.generation_ms)


_ASK = (
    "List what an image must show to match the description below. Take one thing at a time (a subject, its colour, "
    "the place, the light, what happens), in few words of the description, each to be checked alone.\n\nDescription: "
)
_SCHEMA = {
    "type": "object",
    "properties": {
        "elements": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": MAX_ELEMENT_CHARACTERS},
            "minItems": 1,
            "maxItems": MAX_ELEMENTS,
        }
    },
    "required": ["elements"],
    "additionalProperties": False,
}


def _parse_elements(output: str, description: str) -> tuple[str, ...]:
    """The elements in a model's JSON output that share a word with the description."""
    try:
        items = json.loads(output)["elements"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    words = _words(description)
    found: dict[str, str] = {}
    for item in items if isinstance(items, list) else ():  # pyright: ignore[reportUnknownVariableType] - JSON
        text = " ".join(item.split()) if isinstance(item, str) else ""
        if 0 < len(text) <= MAX_ELEMENT_CHARACTERS and _words(text) & words:
            found.setdefault(text.casefold(), text)
    return tuple(found.values())[:MAX_ELEMENTS]


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.casefold()) if len(word) > 2} - _STOP_WORDS


_STOP_WORDS = {"the", "and", "with", "this", "that", "there", "are", "its"}
