"""GET /v1/models: OpenAI's schema with extensions."""

from collections.abc import Mapping, Sequence
from typing import Any

from compat.wire import WireReply


class ModelMemory(WireReply):
    """A model's memory: estimated, reserved, and the measured peak."""

    estimated_bytes: int | None
    """Computed from its files; null until they are downloaded."""
    reserved_bytes: int
    peak_bytes: int | None
    """Null before the first load."""


class Model(WireReply, omit_defaults=True):
    """A served model. All fields but the first four are extensions."""

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
    """Other names for the model."""
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
