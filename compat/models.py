"""GET /v1/models: OpenAI's schema, with what this server adds to it."""

from collections.abc import Mapping, Sequence
from typing import Any

from compat.wire import WireReply


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
    )
