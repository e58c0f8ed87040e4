"""Reads catalogs: the built-in one, the operator's, and that in a configuration file of the server."""

from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from adapters.catalog.entries import Catalog, ModelEntry, Profile
from adapters.catalog.model_config import MODEL_KEYS, ModelConfig, find_entry, to_entry, unsupported
from adapters.catalog.sources import HubSource, LocalSource, PackageSource
from adapters.catalog.yaml_lines import ConfigurationError, LocatedFile, read_located
from adapters.registry import BACKENDS, default_backend

__all__ = ["CATALOG", "Catalog", "ConfigurationError", "ModelEntry", "Profile", "load_catalog"]

CATALOG = Path(__file__).with_name("catalog.yaml")
"""The built-in catalog."""


def load_catalog(own: Path | None = None, config: Path | None = None) -> Catalog:
    """The built-in catalog, with the models and profiles of the operator's files added or replaced.

    Args:
        own: A catalog.
        config: A configuration file of the server: models and profiles beside settings. It is read last.

    Raises:
        ConfigurationError: A file cannot be read or is not valid; each line of the message has file, line and key.
    """
    catalog = _with_file(Catalog(models={}), read_located(CATALOG))
    if own is not None:
        catalog = _with_file(catalog, read_located(own))
    if config is not None:
        catalog = _with_file(catalog, read_located(config), settings=True)
    return catalog


def _with_file(catalog: Catalog, file: LocatedFile, *, settings: bool = False) -> Catalog:
    """A catalog with the models and profiles of one more file.

    Args:
        catalog: That of the files before it.
        file: The file.
        settings: Whether it may have other keys, which are settings.
    """
    data: Any = {} if file.data is None else file.data
    if not isinstance(data, dict):
        raise ConfigurationError(f"{file.path}: expected the sections models and profiles")
    sections = cast(dict[Any, Any], data)
    for key in sections if not settings else ():
        if key not in Catalog.model_fields:
            raise ConfigurationError(file.problem((str(key),), "unknown section; the sections are models and profiles"))
    models, profiles = dict(catalog.models), dict(catalog.profiles)
    added: dict[str, ModelEntry] = {}
    problems: list[str] = []
    for section in ("models", "profiles"):
        entries: Any = sections.get(section) or {}
        if not isinstance(entries, dict):
            raise ConfigurationError(file.problem((section,), "expected a mapping of names to mappings"))
        for name, value in cast(dict[Any, Any], entries).items():
            if not isinstance(name, str):
                problems.append(file.problem((section, str(name)), "a name must be a string; put it in quotes"))
                continue
            try:
                if section == "profiles":
                    profiles[name] = Profile.model_validate(value)
                    continue
                is_config = _is_config(value)
                entry = _configured(file, name, value, catalog) if is_config else ModelEntry.model_validate(value)
                added[name] = _resolve_paths(entry, file.path.parent)
            except ValidationError as error:
                problems.append(str(file.error(error, (section, name))))
            except ConfigurationError as error:
                problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    try:
        return Catalog(models=models | added, profiles=profiles)
    except ValidationError as error:
        raise file.error(error) from None


def _is_config(value: Any) -> bool:
    """Whether a model is written as a `ModelConfig`: a known model or a repository, and how to run it."""
    return isinstance(value, dict) and not MODEL_KEYS.isdisjoint(cast(dict[Any, Any], value))


def _configured(file: LocatedFile, name: str, value: Any, catalog: Catalog) -> ModelEntry:
    """The entry of a model that is written as a `ModelConfig`."""
    config = ModelConfig.model_validate(value)
    known = find_entry(config.model, catalog)
    try:
        if known is not None and known.kind != config.kind:
            raise ConfigurationError(f"kind: {config.model!r} is a model of kind {known.kind}, not {config.kind}")
        if known is None and "/" not in config.model:
            raise ConfigurationError(
                f"model: {config.model!r} is not in the catalog; use the name of a catalog model, or a repository as "
                "org/name"
            )
        row = BACKENDS[known.backend if known else default_backend(config.kind)]
        wrong = unsupported(config, row)
        if config.device != "auto" and not row.supports("device"):
            wrong.append(f"device: cannot be set for {config.kind} models; leave it out")
        if config.batch_size != 1 and not row.supports("batch_size"):
            wrong.append(f"batch_size: cannot be set for {config.kind} models; leave it out")
        if wrong:
            raise ConfigurationError(wrong[0])
        return to_entry(config, known)
    except ConfigurationError as error:
        field, colon, message = str(error).partition(": ")
        if not (colon and field.isidentifier()):
            field, message = "model", str(error)
        raise ConfigurationError(file.problem(("models", name, field), message)) from None


def _resolve_paths(entry: ModelEntry, directory: Path) -> ModelEntry:
    """The entry with relative paths resolved from the directory of the file that they are written in."""

    def resolve(source: HubSource | LocalSource | PackageSource) -> HubSource | LocalSource | PackageSource:
        return LocalSource(path=directory / source.path) if isinstance(source, LocalSource) else source

    loras = {name: resolve(source) for name, source in entry.loras.items()}
    return entry.model_copy(update={"sources": tuple(map(resolve, entry.sources)), "loras": loras})
