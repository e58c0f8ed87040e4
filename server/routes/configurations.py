"""GET /v1/configurations/{kind}, POST /v1/configurations/validate: default configurations, and checking one."""

import asyncio
from typing import Any

from litestar import Response, get, post
from pydantic import ValidationError

from adapters import hardware
from adapters.catalog.catalog import load_catalog
from adapters.catalog.model_config import ModelConfig, default_config
from adapters.catalog.yaml_lines import ConfigurationError
from adapters.memory.validation import ConfigurationValidation, validate_config
from compat import configurations
from compat.errors import RequestError
from compat.validation import explain
from server.http import replies
from server.http.request import AnyRequest
from server.services import Services


@get("/v1/configurations/{kind:str}")
async def defaults(kind: str) -> Response[bytes]:
    """The default configuration of a kind, by its name here or in the interface specification."""
    try:
        config = default_config(kind)
    except ConfigurationError as error:
        raise RequestError(
            f"Invalid 'kind': {error}. Send one of these.", param="kind", code="unknown_kind", status=404
        ) from None
    return replies.json(configurations.render(config.model_dump(mode="json", exclude_none=True)))


@post("/v1/configurations/validate", status_code=200)
async def validate(request: AnyRequest, services: Services) -> Response[bytes]:
    """Checks a configuration: errors, warnings, recommendations, and estimated memory on this server's hardware."""
    fields = await services.bodies.parsed(request, configurations.parse)
    found = await asyncio.to_thread(_validated, services, _config(fields))
    return replies.json(
        configurations.render_validation(
            found.errors, found.warnings, found.recommendations, found.estimated_memory_bytes
        )
    )


def _config(fields: dict[str, Any]) -> ModelConfig:
    try:
        return ModelConfig.model_validate(fields)
    except ValidationError as error:
        raise explain(error, ModelConfig) from None


def _validated(services: Services, config: ModelConfig) -> ConfigurationValidation:
    catalog = load_catalog(*services.settings.catalogs)
    return validate_config(config, catalog, hardware.find(), services.pool.admission.budgets)
