"""Which model a name refers to: a model's own name, an alias, or the default of a kind."""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Literal

from adapters.base import (
    Adapter,
    EmbeddingAdapter,
    ImageAdapter,
    Kind,
    SpeechAdapter,
    TextAdapter,
    VideoAdapter,
    VoiceAdapter,
)
from adapters.errors import ModelNotFound, WrongModelKind
from adapters.pool.slot import Slot

KINDS: Mapping[type[Adapter], tuple[Kind, ...]] = {
    TextAdapter: ("text", "vision"),
    EmbeddingAdapter: ("embedding",),
    SpeechAdapter: ("speech",),
    VoiceAdapter: ("voice",),
    ImageAdapter: ("image",),
    VideoAdapter: ("video",),
}
"""Kinds of models that have an adapter class."""


Fallback = Literal["off", "vendor", "kind"]
"""Which unknown names refer to the default of a kind: none, those of other vendors' models, or all."""

_VENDORS: tuple[tuple[str, tuple[Kind, ...]], ...] = (
    (r"gpt-image|chatgpt-image|dall-e|imagen-", ("image",)),
    (r"whisper-|gpt-(.*-)?transcribe", ("speech",)),
    (r"tts-|gpt-(.*-)?tts", ("voice",)),
    (r"sora-|veo-", ("video",)),
    (r"text-embedding-|gemini-embedding-", ("embedding",)),
    (r"gpt-|chatgpt-|codex-|o[1-9](-|$)|computer-use-|babbage-|davinci-|claude-|gemini-", ("text", "vision")),
)
"""How names of other vendors' models begin, and the kinds of these models; the first that matches counts."""
_PREFIX = re.compile(r"(?:ft:|openai/|azure/|anthropic/|google/|gemini/|models/)*")
"""What clients and gateways write before such names."""


class Names:
    """The names of all served models."""

    def __init__(self, slots: Mapping[str, Slot], aliases: Mapping[str, str], *, fallback: Fallback) -> None:
        """Resolves names of the models of a profile.

        Args:
            slots: All models by name, in the profile's order.
            aliases: Other names to names of models.
            fallback: Which unknown names refer to the first model of the requested kind.
        """
        self._slots = slots
        self._aliases = aliases
        self._fallback = fallback

    def find(self, name: str, adapter: type[Adapter] | None = None, *, kind: Kind | None = None) -> Slot:
        """The model that a name refers to.

        Args:
            name: As the client sent it; "" is the default of the kind.
            adapter: The adapter class that the model must have.
            kind: The kind that the model must have, where the adapter class serves several: only vision models take
                images.

        Raises:
            ModelNotFound: No such model.
            WrongModelKind: The model is of another kind.
        """
        slot = self._slots.get(self._aliases.get(name, name))
        if adapter is None:
            if slot is None:
                raise self._not_found(name)
            return slot
        kinds = (kind,) if kind else KINDS[adapter]
        if slot is None and self._falls_back(name, kinds):
            slot = next((one for kind in kinds for one in self._slots.values() if one.entry.kind == kind), None)
        if slot is None:
            raise self._not_found(name)
        if slot.entry.kind not in kinds:
            raise WrongModelKind(
                f"The model {slot.name!r} is of kind {slot.entry.kind}; this request needs a model of kind {kinds[0]}."
            )
        return slot

    def _falls_back(self, name: str, kinds: Collection[Kind]) -> bool:
        if not name or self._fallback == "kind":
            return True
        return self._fallback == "vendor" and not vendor_kinds(name).isdisjoint(kinds)

    def _not_found(self, name: str) -> ModelNotFound:
        near = get_close_matches(name[:256], [*self._slots, *self._aliases], n=3, cutoff=0.5)
        hint = f" Names like it: {', '.join(near)}." if near else ""
        return ModelNotFound(
            f"The model {name!r} does not exist; GET /v1/models lists the models of this server.{hint}"
        )


def vendor_kinds(name: str) -> frozenset[Kind]:
    """The kinds of another vendor's model, by its name; empty for other names."""
    prefix = _PREFIX.match(name)
    bare = name[prefix.end() if prefix else 0 :].lower()
    return frozenset(next((kinds for pattern, kinds in _VENDORS if re.match(pattern, bare)), ()))
