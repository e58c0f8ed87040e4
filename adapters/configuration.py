"""Which models exist and which are served: the catalog, its profiles and aliases, checked as they are read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from adapters.base import Kind
from adapters.registry import BACKENDS
from adapters.sources import LocalSource, Source

CATALOG = Path(__file__).with_name("catalog.yaml")
"""The built-in catalog."""


class ConfigurationError(Exception):
    """A configuration file is wrong; the message names file and key."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelEntry(_Strict):
    """A known model: where it comes from and how it is run."""

    kind: Kind
    backend: str
    """A row of `adapters/registry.py`."""
    sources: tuple[Source, ...] = ()
    """Tried in order; the first that can be had is used. Empty only for fakes."""
    license: str = ""
    """SPDX name of the weights' licence."""
    description: str = ""
    """One sentence for people, shown by /v1/models."""
    options: dict[str, Any] = Field(default_factory=dict)
    """For the backend's own `Options`."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """What a request means that leaves a field out: native width, height, steps, frames of this model."""
    memory_bytes: int | None = Field(None, gt=0)
    """What it takes when it works, measured or declared; None: estimated by `adapters/memory.py`."""
    pin: bool = False
    """Once loaded it stays, whatever else needs memory."""
    idle_ttl_s: float | None = Field(None, gt=0)
    """Unloaded after so many seconds without a request; None: what the pool does with all others."""

    @model_validator(mode="after")
    def _served(self) -> Self:
        row = BACKENDS.get(self.backend)
        if row is None:
            raise ValueError(f"there is no backend {self.backend!r}; there are {', '.join(BACKENDS)}")
        if self.kind not in row.kinds:
            raise ValueError(f"backend {self.backend!r} runs {' and '.join(row.kinds)}, not {self.kind}")
        return self


class Profile(_Strict):
    """A set of models to serve together."""

    models: tuple[str, ...]
    """Names of catalog entries. The first of each kind is that kind's default."""
    aliases: dict[str, str] = Field(default_factory=dict)
    """Other names for them: what tools hard-code ("gpt-4o") to the name of a model of this profile."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for alias, name in self.aliases.items():
            if name not in self.models:
                raise ValueError(f"alias {alias!r} means {name!r}, which this profile does not serve")
        return self


class Catalog(_Strict):
    """All known models and profiles."""

    models: dict[str, ModelEntry]
    profiles: dict[str, Profile] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, profile in self.profiles.items():
            for model in profile.models:
                if model not in self.models:
                    raise ValueError(f"profile {name!r} serves {model!r}, which is not in models")
        return self

    def profile(self, name: str) -> Profile:
        """The profile of that name.

        Raises:
            ConfigurationError: There is none.
        """
        if name not in self.profiles:
            raise ConfigurationError(f"there is no profile {name!r}; there are {', '.join(self.profiles)}")
        return self.profiles[name]


def load_catalog(own: Path | None = None) -> Catalog:
    """The built-in catalog, with the models and profiles of the operator's own file laid over it.

    Raises:
        ConfigurationError: A file cannot be read or does not fit, naming it and the key.
    """
    merged: dict[str, dict[str, Any]] = {"models": {}, "profiles": {}}
    homes: dict[str, Path] = {}
    path = CATALOG
    for path in (CATALOG, own) if own else (CATALOG,):
        for section, entries in _read(path).items():
            if section not in merged or not isinstance(entries, Mapping):
                raise ConfigurationError(
                    f"{path}: {section}: expected the sections models and profiles, each a mapping"
                )
            merged[section].update(entries)  # pyright: ignore[reportUnknownArgumentType] - YAML
            if section == "models":
                homes.update(dict.fromkeys(cast(dict[str, Any], entries), path.parent))
    try:
        catalog = Catalog.model_validate(merged)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path}: {key}: {first['msg']}") from None
    return catalog.model_copy(
        update={"models": {name: _at_home(entry, homes[name]) for name, entry in catalog.models.items()}}
    )


def _at_home(entry: ModelEntry, home: Path) -> ModelEntry:
    """The entry with its relative paths taken from the directory of the file that says them."""
    sources = tuple(
        LocalSource(path=home / source.path) if isinstance(source, LocalSource) else source for source in entry.sources
    )
    return entry.model_copy(update={"sources": sources})


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if content is not None and not isinstance(content, dict):
        raise ConfigurationError(f"{path}: expected the sections models and profiles")
    return content or {}  # pyright: ignore[reportUnknownVariableType] - YAML
