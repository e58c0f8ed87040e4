"""GET /v1/configurations/{kind} and POST /v1/configurations/validate: ours; the seed's IModelConfiguration."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from compat.errors import RequestError
from compat.wire import WireReply


class Configuration(WireReply, omit_defaults=True):
    """How one model is to be run."""

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
    """Whether a configuration will work on the server's machine."""

    is_valid: bool
    errors: list[str]
    warnings: list[str]
    recommendations: dict[str, str]
    """A field to the value that would be better."""
    estimated_memory_bytes: int | None
    object: str = "configuration.validation"


def parse(body: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration within a request: the whole body, or its `configuration`, without the reply's `object`.

    Raises:
        RequestError: It is no object.
    """
    inner: Any = body.get("configuration", body)
    if not isinstance(inner, dict) or (inner is not body and len(body) > 1):
        raise RequestError("Send the configuration's fields, alone or within 'configuration'.", param="configuration")
    return {name: value for name, value in cast(dict[str, Any], inner).items() if name != "object"}


def invalid(key: Sequence[int | str], message: str) -> RequestError:
    """The 400 for a configuration that is none, naming the field at fault."""
    param = ".".join(str(part) for part in key)
    return RequestError(f"Invalid '{param}': {message}." if param else message, param=param or None)


def render(fields: Mapping[str, Any]) -> Configuration:
    """A configuration by its fields."""
    return Configuration(object="configuration", **fields)


def render_validation(
    errors: Sequence[str],
    warnings: Sequence[str],
    recommendations: Mapping[str, str],
    estimated_memory_bytes: int | None,
) -> ConfigurationValidation:
    """A validation's result."""
    return ConfigurationValidation(
        is_valid=not errors,
        errors=list(errors),
        warnings=list(warnings),
        recommendations=dict(recommendations),
        estimated_memory_bytes=estimated_memory_bytes,
    )
