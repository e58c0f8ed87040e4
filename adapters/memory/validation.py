"""Whether a model's configuration will work on this machine, and what would be better."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from adapters.base import Kind
from adapters.catalog.catalog import Catalog, ModelEntry
from adapters.catalog.model_config import ModelConfig, find_entry, to_entry
from adapters.catalog.yaml_lines import ConfigurationError
from adapters.hardware import Hardware
from adapters.memory import estimate


@dataclass(frozen=True, slots=True)
class ConfigurationValidation:
    """Whether a configuration will work, and what would be better. The seed's ConfigurationValidationResult."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    recommendations: dict[str, str] = field(default_factory=dict[str, str])
    """A field of the configuration to what it should be."""
    estimated_memory_bytes: int | None = None
    """None: the model is unknown."""

    @property
    def is_valid(self) -> bool:
        """Whether there are no errors."""
        return not self.errors


def validate_config(config: ModelConfig, catalog: Catalog, hardware: Hardware) -> ConfigurationValidation:
    """Whether a configuration works on this hardware, with reasons and advice."""
    errors: list[str] = []
    warnings: list[str] = []
    advice: dict[str, str] = {}
    entry = find_entry(config.model, catalog)
    if entry is None:
        if "/" not in config.model:
            errors.append(f"model: there is no {config.model!r} in the catalog; name a repository as org/name")
        warnings.append(f"model: {config.model!r} is not in the catalog: its memory is not known before a download")
    elif entry.kind != config.kind:
        errors.append(f"model: {config.model!r} is of kind {entry.kind}, not {config.kind}")
    elif entry.unusable:
        errors.append(f"model: {config.model} cannot be loaded: {entry.unusable}")
    if config.device == "cuda" and hardware.main.kind != "cuda":
        errors.append("device: there is no GPU that this process may use")
        advice["device"] = "cpu"
    if config.device == "cpu" and hardware.main.kind == "cuda" and config.kind in ("text", "vision"):
        errors.append("device: vLLM was installed for the GPU, and runs there")
        advice["device"] = "auto"
    _check_fields(config, errors, warnings)
    if errors or entry is None:
        return ConfigurationValidation(tuple(errors), tuple(warnings), advice)
    try:
        made = to_entry(config, entry)
    except ConfigurationError as error:
        return ConfigurationValidation((*errors, str(error)), tuple(warnings), advice)
    device = hardware.cpu if config.device == "cpu" else hardware.main
    needed = estimate.estimate_entry(made, device=device.kind)
    if needed > device.total_bytes:
        errors.append(
            f"device: {config.model} needs {needed / 1e9:.1f} GB as configured, and {device.name} has "
            f"{device.total_bytes / 1e9:.1f} GB"
        )
        advice |= _smaller(config, entry, catalog, hardware)
    elif needed > device.free_bytes:
        warnings.append(
            f"device: of {device.name}, {device.free_bytes / 1e9:.1f} GB are free; {needed / 1e9:.1f} needed"
        )
    if device.kind == "cpu" and needed > 8e9:
        warnings.append("device: a model of this size is slow on a CPU")
    return ConfigurationValidation(tuple(errors), tuple(warnings), advice, needed or None)


def _check_fields(config: ModelConfig, errors: list[str], warnings: list[str]) -> None:
    """Fields that mean nothing for a kind are errors; those that change nothing are warnings."""
    if config.kind in ("text", "vision") and config.compute_type.startswith("int"):
        errors.append(
            f"compute_type: vLLM runs {config.compute_type} only from a checkpoint that was made so: choose one "
            "(such as qwen2.5-7b-instruct-awq) with compute_type auto"
        )
    if config.kind in ("speech", "voice", "video") and config.batch_size != 1:
        warnings.append(f"batch_size: has no effect; {config.kind} is done one request at a time")
    if config.kind == "embedding" and config.batch_size != 1:
        warnings.append("batch_size: has no effect; embeddings are batched by their tokens")
    for name, kinds in _ONLY.items():
        if getattr(config, name) is not None and config.kind not in kinds:
            errors.append(f"{name}: means nothing for {config.kind}")


_ONLY: Mapping[str, tuple[Kind, ...]] = {
    "context_length": ("text", "vision", "embedding"),
    "width": ("image", "video"),
    "height": ("image", "video"),
    "num_frames": ("video",),
}


def _smaller(config: ModelConfig, entry: ModelEntry, catalog: Catalog, hardware: Hardware) -> dict[str, str]:
    """Changes of one field that make it fit; where there are none, another model of the kind that does."""
    device = hardware.cpu if config.device == "cpu" else hardware.main
    half = "bfloat16" if config.kind == "video" else "float16"
    tries: dict[str, list[Any]] = {"batch_size": [4, 1], "compute_type": [half, "int8_float16", "int8_float32"]}
    if config.kind == "video":
        tries |= {"num_frames": [97, 49, 25]}
    advice: dict[str, str] = {}
    for name, values in tries.items():
        for value in values:
            changed = config.model_copy(update={name: value})
            with suppress(ConfigurationError):
                if changed != config and 0 < estimate.estimate_entry(to_entry(changed, entry), device=device.kind) <= (
                    device.total_bytes
                ):
                    advice[name] = str(value)
                    break
    if not advice:
        fitting = {
            name: size
            for name, other in catalog.models.items()
            if other.kind == config.kind and not other.unusable
            if 0 < (size := estimate.estimate_entry(other, device=device.kind)) <= device.total_bytes
        }
        if fitting:
            advice["model"] = max(fitting, key=lambda name: fitting[name])
    return advice
