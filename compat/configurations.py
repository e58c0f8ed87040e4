"""GET /v1/configurations/{kind} and POST /v1/configurations/validate.

Not part of OpenAI's API: IModelConfiguration of the interface specification.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from compat.errors import invalid
from compat.wire import WireReply


class Configuration(WireReply, omit_defaults=True):
    """How to run a model."""

    kind: str
    model: str
    device: str
    compute_type: str
    batch_size: int
    object: str = ""
    context_length: int | None = None
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    defaults: dict[str, Any] | None = None


class ConfigurationValidation(WireReply):
    """Whether a configuration works on the server's machine."""

    is_valid: bool
    errors: list[str]
    warnings: list[str]
    recommendations: dict[str, str]
    """From a field to a better value."""
    estimated_memory_bytes: int | None
    object: str = "configuration.validation"


def parse(body: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration within a request: the whole body, or its `configuration`, without the reply's `object`.

    Raises:
        RequestError: It is not an object, or other fields are beside `configuration`.
    """
    inner: Any = body.get("configuration", body)
    if not isinstance(inner, dict) or (inner is not body and len(body) > 1):
        raise invalid("configuration", "must be an object, and the only member of the request body")
    return {name: value for name, value in cast(dict[str, Any], inner).items() if name != "object"}


def render(fields: Mapping[str, Any]) -> Configuration:
    """A configuration."""
    return Configuration(object="configuration", **fields)


def render_validation(
    errors: Sequence[str],
    warnings: Sequence[str],
    recommendations: Mapping[str, str],
    estimated_memory_bytes: int | None,
) -> ConfigurationValidation:
    """The result of a validation."""
    return ConfigurationValidation(
        is_valid=not errors,
        errors=list(errors),
        warnings=list(warnings),
        recommendations=dict(recommendations),
        estimated_memory_bytes=estimated_memory_bytes,
    )
