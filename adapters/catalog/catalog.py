"""Which models exist and which are served: the catalog, its profiles and aliases, checked as they are read."""

from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from adapters.base import Kind
from adapters.catalog.sources import HubSource, LocalSource, PackageSource, Source
from adapters.catalog.yaml_lines import ConfigurationError, Located, Misplaced, read_located
from adapters.registry import BACKENDS
from adapters.vision.defaults import SceneDefaults

__all__ = ["CATALOG", "Catalog", "ConfigurationError", "ModelEntry", "Profile", "load_catalog"]

CATALOG = Path(__file__).with_name("catalog.yaml")
"""The built-in catalog."""
E = TypeVar("E", bound=BaseModel)


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
    unusable: str = ""
    """Why it cannot be loaded here, of a model that is known all the same; no profile can serve it."""
    options: dict[str, Any] = Field(default_factory=dict)
    """For the backend's own `Options`."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """What a request means that leaves a field out: native width, height, steps, frames of this model; of one that
    sees, `adapters.vision.SceneDefaults`."""
    refiner: str = ""
    """A model of the catalog that takes this one's pictures over for the last steps, as SDXL's refiner does."""
    loras: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")], Source] = Field(
        default_factory=dict[str, Source], max_length=64
    )
    """Small weights that a request may lay over the model's, by name; each source is one safetensors file."""
    memory_bytes: int | None = Field(None, gt=0)
    """What it takes when it works, measured or declared; None: estimated by `adapters/memory/estimate.py`."""
    devices: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(None, min_length=1)
    """GPUs that it may live on, as nvidia-smi numbers them; None: wherever there is room."""
    pin: bool = False
    """Once loaded it stays, whatever else needs memory."""
    idle_ttl_s: float | None = Field(None, gt=0)
    """Unloaded after so many seconds without a request; None: what the pool does with all others."""

    @field_validator("defaults")
    @classmethod
    def _of_scenes(cls, defaults: dict[str, Any]) -> dict[str, Any]:
        SceneDefaults.of(defaults)
        return defaults

    @model_validator(mode="after")
    def _served(self) -> Self:
        row = BACKENDS.get(self.backend)
        if row is None:
            raise Misplaced(f"there is no backend {self.backend!r}; there are {', '.join(BACKENDS)}", "backend")
        if self.kind not in row.kinds:
            raise Misplaced(f"backend {self.backend!r} runs {' and '.join(row.kinds)}, not {self.kind}", "kind")
        for component in ("refiner", "loras"):
            if getattr(self, component) and component not in row.components:
                raise Misplaced(f"backend {self.backend!r} does not support {component}; remove this key", component)
        if self.devices is not None:
            if len(set(self.devices)) < len(self.devices):
                raise Misplaced("a GPU is named twice", "devices")
            if self.options.get("device") == "cpu":
                raise Misplaced("these are GPUs, and the options say that it runs on the CPU", "devices")
            shared: Any = self.options.get("tensor_parallel_size", 1)
            if isinstance(shared, int) and shared > len(self.devices):
                raise Misplaced(f"tensor_parallel_size asks for {shared} of them", "devices")
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
                raise Misplaced(f"it means {name!r}, which this profile does not serve", "aliases", alias)
        return self


class Catalog(_Strict):
    """All known models and profiles."""

    models: dict[str, ModelEntry]
    profiles: dict[str, Profile] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, entry in self.models.items():
            if entry.refiner and (entry.refiner == name or entry.refiner not in self.models):
                raise Misplaced(f"there is no other model {entry.refiner!r}", "models", name, "refiner")
        for name, profile in self.profiles.items():
            for index, model in enumerate(profile.models):
                if model not in self.models:
                    raise Misplaced(f"there is no model {model!r}", "profiles", name, "models", index)
                if why := self.models[model].unusable:
                    raise Misplaced(f"{model!r} cannot be loaded: {why}", "profiles", name, "models", index)
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
        ConfigurationError: A file cannot be read or does not fit; each line of the message names file, line and key.
    """
    models: dict[str, ModelEntry] = {}
    profiles: dict[str, Profile] = {}
    catalog = Catalog(models={})
    for path in (CATALOG, own) if own else (CATALOG,):
        file = read_located(path)
        for name, entry in _entries(file, "models", ModelEntry).items():
            models[name] = _at_home(entry, path.parent)
        profiles |= _entries(file, "profiles", Profile)
        try:
            catalog = Catalog(models=models, profiles=profiles)
        except ValidationError as error:
            raise file.error(error) from None
    return catalog


def _entries(file: Located, section: str, model: type[E]) -> dict[str, E]:
    """A section's entries, by name."""
    data: Any = {} if file.data is None else file.data
    if not isinstance(data, dict):
        raise ConfigurationError(f"{file.path}: expected the sections models and profiles")
    sections = cast(dict[Any, Any], data)
    for key in sections:
        if key not in Catalog.model_fields:
            raise ConfigurationError(file.problem((str(key),), "there are only the sections models and profiles"))
    entries: Any = sections.get(section) or {}
    if not isinstance(entries, dict):
        raise ConfigurationError(file.problem((section,), "expected names, each with a mapping"))
    found: dict[str, E] = {}
    problems: list[str] = []
    for name, value in cast(dict[Any, Any], entries).items():
        if not isinstance(name, str):
            problems.append(file.problem((section, str(name)), "a name must be text; put it in quotes"))
            continue
        try:
            found[name] = model.model_validate(value)
        except ValidationError as error:
            problems.append(str(file.error(error, (section, name))))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return found


def _at_home(entry: ModelEntry, home: Path) -> ModelEntry:
    """The entry with its relative paths taken from the directory of the file that says them."""

    def at_home(source: HubSource | LocalSource | PackageSource) -> HubSource | LocalSource | PackageSource:
        return LocalSource(path=home / source.path) if isinstance(source, LocalSource) else source

    loras = {name: at_home(source) for name, source in entry.loras.items()}
    return entry.model_copy(update={"sources": tuple(map(at_home, entry.sources)), "loras": loras})
