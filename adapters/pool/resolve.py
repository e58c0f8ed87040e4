"""Which model a name means: itself, an alias, or the default of a kind."""

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
"""Which kinds of model can serve a lease for an adapter class."""


class Names:
    """The names of all served models."""

    def __init__(self, slots: Mapping[str, Slot], aliases: Mapping[str, str], *, fallback: bool) -> None:
        """Knows the models by name, in the profile's order, and their aliases.

        Args:
            slots: All models.
            aliases: Other names, and what they mean.
            fallback: Whether an unknown name means the first model of the kind that is asked for.
        """
        self._slots = slots
        self._aliases = aliases
        self._fallback = fallback

    def find(self, name: str, adapter: type[Adapter] | None = None, *, kind: Kind | None = None) -> Slot:
        """The model that a name means: itself, an alias, or the kind's default where fallback is on.

        Args:
            name: As the client sent it; "" means the kind's default.
            adapter: What the model must be able to be leased as.
            kind: The one kind that will do, where models of several can be leased so: a text model need not be loaded
                to say that it has no eyes.

        Raises:
            ModelNotFound: No such model.
            WrongModelKind: It cannot do what is asked.
        """
        slot = self._slots.get(self._aliases.get(name, name))
        if adapter is None:
            if slot is None:
                raise ModelNotFound(f"The model {name!r} does not exist; GET /v1/models lists what does.")
            return slot
        kinds = (kind,) if kind else KINDS[adapter]
        if slot is None and (self._fallback or not name):
            slot = next((one for kind in kinds for one in self._slots.values() if one.entry.kind == kind), None)
        if slot is None:
            raise ModelNotFound(f"The model {name!r} does not exist; GET /v1/models lists what does.")
        if slot.entry.kind not in kinds:
            raise WrongModelKind(f"The model {slot.name!r} is of kind {slot.entry.kind}; this needs {kinds[0]}.")
        return slot
