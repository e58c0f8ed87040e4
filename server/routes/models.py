"""GET /v1/models."""

from litestar import Response, get

from adapters.slots import Slot
from compat import models
from server import replies
from server.services import Services


@get("/v1/models")
async def page(services: Services) -> Response[bytes]:
    """All served models."""
    return replies.json(models.ModelList(data=[_model(services, slot) for slot in services.pool.slots]))


@get("/v1/models/{model:path}")
async def retrieve(services: Services, model: str) -> Response[bytes]:
    """One served model, by its name or an alias."""
    return replies.json(_model(services, services.pool.find(model.removeprefix("/"))))


def _model(services: Services, slot: Slot) -> models.Model:
    return models.render(
        slot.name,
        created=services.started,
        kind=slot.entry.kind,
        state=slot.state,
        description=slot.entry.description,
        license=slot.entry.license,
        aliases=[alias for alias, name in services.pool.aliases.items() if name == slot.name],
        defaults=slot.entry.defaults,
    )
