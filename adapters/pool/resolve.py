"""Which model a name refers to: a model's own name, an alias, or the default of a kind."""

from collections.abc import Mapping

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


class Names:
    """The names of all served models."""

    def __init__(self, slots: Mapping[str, Slot], aliases: Mapping[str, str], *, fallback: bool) -> None:
        """Resolves names of the models of a profile.

        Args:
            slots: All models by name, in the profile's order.
            aliases: Other names to names of models.
            fallback: Whether an unknown name refers to the first model of the requested kind.
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
                raise ModelNotFound(
                    f"The model {name!r} does not exist; GET /v1/models lists the models of this server."
                )
            return slot
        kinds = (kind,) if kind else KINDS[adapter]
        if slot is None and (self._fallback or not name):
            slot = next((one for kind in kinds for one in self._slots.values() if one.entry.kind == kind), None)
        if slot is None:
            raise ModelNotFound(f"The model {name!r} does not exist; GET /v1/models lists the models of this server.")
        if slot.entry.kind not in kinds:
            raise WrongModelKind(
                f"The model {slot.name!r} is of kind {slot.entry.kind}; this request needs a model of kind {kinds[0]}."
            )
        return slot
