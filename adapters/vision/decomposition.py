"""What a description names, one by one: cut by a rule, or by a model under a schema."""

import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from adapters.base import Message, TextAdapter, TextDelta, TextDone, TextPart, TextRequest, Usage
from adapters.errors import UnsupportedOption

MAX_ELEMENTS = 32
"""Elements that are judged apart; what a longer description holds beyond counts in the judgement of the whole."""

MAX_ELEMENT_CHARACTERS = 200
MAX_REMEMBERED = 1024

Method = Literal["rule", "model"]
"""How a description is cut."""

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


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A description's elements, and what it took to find them."""

    elements: tuple[str, ...]
    method: Method = "rule"
    """How they were found; "rule" also where the model named nothing that the description says."""
    usage: Usage = field(default_factory=Usage)
    generation_ms: float = 0.0


class Decompositions:
    """Cuts descriptions, and remembers the last ones. The same model cuts the same description in the same way."""

    def __init__(self) -> None:
        """Nothing is remembered."""
        self._known: OrderedDict[tuple[str, Method, str], Decomposition] = OrderedDict()

    async def of(self, adapter: TextAdapter, model: str, description: str, method: Method) -> Decomposition:
        """The elements of a description.

        Args:
            adapter: The model, for its language side.
            model: Its name.
            description: In words.
            method: See `decompose`.

        Raises:
            UnsupportedOption: The description names nothing.
            AdapterError: As `TextAdapter.generate`.
        """
        description = " ".join(description.split())
        key = (model if method == "model" else "", method, description)
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return Decomposition(known.elements, known.method)
        found = await decompose(adapter, description, method)
        self._known[key] = found
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return found


async def decompose(adapter: TextAdapter, description: str, method: Method) -> Decomposition:
    """The elements of a description.

    "rule" cuts it as `elements` does. "model" asks the model for a list, at temperature 0 and under a schema; what it
    lists counts only where it shares a word with the description, so that nothing is judged that nobody asked for. A
    model that lists nothing of that sort is overruled by the rule.

    Raises:
        UnsupportedOption: The description names nothing.
        AdapterError: As `TextAdapter.generate`.
    """
    cut = elements(description)
    if not cut:
        raise UnsupportedOption("The description names nothing that could be seen.", param="description")
    if method == "rule":
        return Decomposition(cut)
    request = TextRequest(
        (Message("user", (TextPart(_ASK + json.dumps(description, ensure_ascii=False)),)),),
        max_tokens=512,
        temperature=0,
        output="json_schema",
        schema=_SCHEMA,
    )
    written, done = "", TextDone(Usage(), 0.0)
    async for event in adapter.generate(request):
        if isinstance(event, TextDelta):
            written += event.text
        else:
            done = event
    listed = _listed(written, description)
    return Decomposition(listed or cut, "model" if listed else "rule", done.usage, done.generation_ms)


_ASK = (
    "List what a picture must show to match the description below. Take one thing at a time (a subject, its colour, "
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


def _listed(written: str, description: str) -> tuple[str, ...]:
    """The elements in a model's JSON that have to do with the description."""
    try:
        items = json.loads(written)["elements"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    said = _words(description)
    found: dict[str, str] = {}
    for item in items if isinstance(items, list) else ():  # pyright: ignore[reportUnknownVariableType] - JSON
        text = " ".join(item.split()) if isinstance(item, str) else ""
        if 0 < len(text) <= MAX_ELEMENT_CHARACTERS and _words(text) & said:
            found.setdefault(text.casefold(), text)
    return tuple(found.values())[:MAX_ELEMENTS]


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.casefold()) if len(word) > 2} - _EMPTY


_EMPTY = {"the", "and", "with", "this", "that", "there", "are", "its"}
