"""Whether a model's configuration works on this machine, and what would work better."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from adapters.catalog.catalog import Catalog, ModelEntry
from adapters.catalog.model_config import ModelConfig, find_entry, to_entry, unsupported
from adapters.catalog.yaml_lines import ConfigurationError
from adapters.hardware import Device, Hardware
from adapters.memory.estimate import estimate_entry
from adapters.memory.placement import GIB, Budgets, refusal, runs_on_cpu
from adapters.registry import BACKENDS, Backend, default_backend

SLOW_ON_CPU_BYTES = 8e9
"""A model of this size on a CPU gets a warning."""


@dataclass(frozen=True, slots=True)
class ConfigurationValidation:
    """The result: ConfigurationValidationResult of the interface specification."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    recommendations: dict[str, str] = field(default_factory=dict[str, str])
    """A field of the configuration to its recommended value."""
    estimated_memory_bytes: int | None = None
    """None: the model is unknown."""

    @property
    def is_valid(self) -> bool:
        """Whether there are no errors."""
        return not self.errors


def validate_config(
    config: ModelConfig, catalog: Catalog, hardware: Hardware, budgets: Budgets | None = None
) -> ConfigurationValidation:
    """Checks a configuration against the catalog, the model's backend and this hardware.

    Args:
        config: The configuration.
        catalog: The known models.
        hardware: Of this machine.
        budgets: The memory that a running server shares among its models; None: what is free now.
    """
    budgets = budgets or hardware.budgets()
    errors: list[str] = []
    warnings: list[str] = []
    recommended: dict[str, str] = {}
    entry = find_entry(config.model, catalog)
    if entry is None:
        if "/" not in config.model:
            errors.append(
                f"model: {config.model!r} is not in the catalog; use the name of a catalog model, or a hub repository "
                "as org/name"
            )
        warnings.append(
            f"model: {config.model!r} is not in the catalog, so its memory cannot be estimated before it is downloaded"
        )
    elif entry.kind != config.kind:
        errors.append(f"model: {config.model!r} is a model of kind {entry.kind}, not {config.kind}")
    elif entry.unusable:
        errors.append(f"model: {config.model} cannot be loaded: {entry.unusable}")
    if config.device == "cuda" and hardware.main.kind != "cuda":
        errors.append("device: this process can use no GPU; use cpu or auto")
        recommended["device"] = "cpu"
    backend = entry.backend if entry and entry.kind == config.kind else default_backend(config.kind)
    row = BACKENDS[backend]
    if config.device == "cpu" and hardware.main.kind == "cuda" and not row.supports("device"):
        errors.append(f"device: backend {backend} runs on the GPU of this machine; use auto")
        recommended["device"] = "auto"
    errors += unsupported(config, row)
    if config.batch_size != 1 and not row.supports("batch_size"):
        warnings.append(f"batch_size: has no effect on {config.kind} models; leave it out")
    if errors or entry is None:
        return ConfigurationValidation(tuple(errors), tuple(warnings), recommended)
    try:
        made = to_entry(config, entry)
    except ConfigurationError as error:
        return ConfigurationValidation((str(error),), tuple(warnings), recommended)
    device = hardware.cpu if runs_on_cpu(made) else hardware.main
    needed = estimate_entry(made, device=device.kind)
    if why := refusal(config.model, made, needed, budgets):
        errors.append(f"device: {why}")
        recommended |= _smaller(config, entry, row, catalog, device, budgets)
    elif needed > device.free_bytes:
        warnings.append(
            f"device: {config.model} needs {needed / GIB:.1f} GiB, and only {device.free_bytes / GIB:.1f} GiB of "
            f"{device.name} are free now"
        )
    if device.kind == "cpu" and needed > SLOW_ON_CPU_BYTES:
        warnings.append("device: a model of this size is slow on a CPU")
    return ConfigurationValidation(tuple(errors), tuple(warnings), recommended, needed or None)


def _smaller(
    config: ModelConfig, entry: ModelEntry, row: Backend, catalog: Catalog, device: Device, budgets: Budgets
) -> dict[str, str]:
    """Values of single fields with which the model fits; where there are none, the largest model of its kind that fits.

    Args:
        config: A configuration that does not fit.
        entry: The catalog's entry of its model.
        row: The entry's backend.
        catalog: For other models.
        device: Where it is to run.
        budgets: Of this machine.
    """

    def fits(name: str, other: ModelEntry) -> int:
        """Bytes that a model needs, if it fits; otherwise 0."""
        needed = estimate_entry(other, device="cpu" if runs_on_cpu(other) else device.kind)
        return 0 if refusal(name, other, needed, budgets) else needed

    candidates: dict[str, list[Any]] = {
        "batch_size": [4, 1],
        "compute_type": [row.half_precision, "int8_float16", "int8_float32"],
    }
    if row.supports("num_frames"):
        candidates["num_frames"] = [97, 49, 25]
    found: dict[str, str] = {}
    for name, values in candidates.items():
        for value in values:
            changed = config.model_copy(update={name: value})
            with suppress(ConfigurationError):
                if changed != config and fits(config.model, to_entry(changed, entry)):
                    found[name] = str(value)
                    break
    if not found:
        fitting = {
            name: size
            for name, other in catalog.models.items()
            if other.kind == config.kind and not other.unusable
            if (size := fits(name, other))
        }
        if fitting:
            found["model"] = max(fitting, key=lambda name: fitting[name])
    return found
