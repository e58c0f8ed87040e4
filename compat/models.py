"""GET /v1/models: OpenAI's schema, with what this server adds to it."""

from collections.abc import Mapping, Sequence
from typing import Any

from compat.wire import WireReply


class ModelMemory(WireReply):
    """Bytes of a model: what it should need, what it has reserved, and the most that it was seen to hold."""

    estimated_bytes: int | None
    """From its files alone; null until they are here."""
    reserved_bytes: int
    peak_bytes: int | None
    """Null until it has run."""


class Model(WireReply, omit_defaults=True):
    """A served model. All but the first four are ours."""

    id: str
    object: str
    created: int
    owned_by: str
    kind: str
    state: str
    """"unloaded", "loading", "ready", "draining", "unloading" or "failed"."""
    description: str
    license: str
    aliases: list[str]
    """Other names that reach it."""
    defaults: dict[str, Any]
    memory: ModelMemory


class ModelList(WireReply):
    """All served models."""

    data: list[Model]
    object: str = "list"


def render(
    name: str,
    *,
    created: int,
    kind: str,
    state: str,
    description: str,
    license: str,
    aliases: Sequence[str],
    defaults: Mapping[str, Any],
    memory: ModelMemory,
) -> Model:
    """One model."""
    return Model(
        id=name,
        object="model",
        created=created,
        owned_by="muybridge",
        kind=kind,
        state=state,
        description=description,
        license=license,
        aliases=list(aliases),
        defaults=dict(defaults),
        memory=memory,
    )
