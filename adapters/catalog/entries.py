"""What a catalog holds: known models, profiles and aliases, validated when they are read."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from adapters.base import Kind
from adapters.catalog.sources import Source
from adapters.catalog.yaml_lines import ConfigurationError, KeyProblem
from adapters.registry import BACKENDS
from adapters.vision.defaults import SceneDefaults


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelEntry(_Strict):
    """A known model: its sources and how it is run."""

    kind: Kind
    backend: str
    """A row of `adapters/registry.py`."""
    sources: tuple[Source, ...] = ()
    """Tried in order; the first that is available is used. Empty only for fakes."""
    license: str = ""
    """SPDX name of the weights' licence."""
    description: str = ""
    """One sentence, shown by /v1/models."""
    unusable: str = ""
    """Why a known model cannot be loaded by this server; no profile can serve it. Empty: it can be."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the backend, validated by its `Options` class."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """Values of request fields that a request does not set: native width, height, steps and frames of this model; of a
    model that takes images, those of `adapters.vision.defaults.SceneDefaults`."""
    refiner: str = ""
    """A model of the catalog that runs the last denoising steps, as SDXL's refiner does."""
    loras: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")], Source] = Field(
        default_factory=dict[str, Source], max_length=64
    )
    """LoRAs that a request may apply, by name; each source is one safetensors file."""
    weights_bytes: int | None = Field(None, gt=0)
    """Bytes of the weights, as the hub tells of the files. Estimates use it where the configs alone do not tell."""
    memory_bytes: int | None = Field(None, gt=0)
    """Memory at work, measured or declared; None: estimated by `adapters/memory/estimate.py`."""
    devices: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(None, min_length=1)
    """GPUs that it may use, by nvidia-smi index; None: any."""
    pin: bool = False
    """Once loaded, it is never evicted."""
    idle_ttl_s: float | None = Field(None, gt=0)
    """Unloaded after this many seconds without a request; None: the server's `idle_ttl_s`."""

    @field_validator("defaults")
    @classmethod
    def _of_scenes(cls, defaults: dict[str, Any]) -> dict[str, Any]:
        SceneDefaults.of(defaults)
        return defaults

    @model_validator(mode="after")
    def _served(self) -> Self:
        row = BACKENDS.get(self.backend)
        if row is None:
            raise KeyProblem(f"there is no backend {self.backend!r}; use one of {', '.join(BACKENDS)}", "backend")
        if self.kind not in row.kinds:
            raise KeyProblem(
                f"backend {self.backend!r} runs models of kind {' or '.join(row.kinds)}, not {self.kind}", "kind"
            )
        for component in ("refiner", "loras"):
            if getattr(self, component) and component not in row.components:
                raise KeyProblem(f"backend {self.backend!r} does not support {component}; remove this key", component)
        if self.devices is not None:
            if len(set(self.devices)) < len(self.devices):
                raise KeyProblem("a GPU is listed twice; list each once", "devices")
            if self.options.get("device") == "cpu":
                raise KeyProblem("lists GPUs, but the option device is cpu; remove one of the two", "devices")
            shared: Any = self.options.get("tensor_parallel_size", 1)
            if isinstance(shared, int) and shared > len(self.devices):
                raise KeyProblem(
                    f"lists {len(self.devices)} GPUs, but the option tensor_parallel_size is {shared}", "devices"
                )
        return self


class Profile(_Strict):
    """A set of models to serve together."""

    models: tuple[str, ...]
    """Names of catalog entries. The first of each kind is that kind's default."""
    aliases: dict[str, str] = Field(default_factory=dict)
    """Other names, such as "gpt-4o", to the name of a model of this profile."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for alias, name in self.aliases.items():
            if name not in self.models:
                raise KeyProblem(f"refers to {name!r}, which is not among the models of this profile", "aliases", alias)
        return self


class Catalog(_Strict):
    """All known models and profiles."""

    models: dict[str, ModelEntry]
    profiles: dict[str, Profile] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, entry in self.models.items():
            if entry.refiner and (entry.refiner == name or entry.refiner not in self.models):
                raise KeyProblem(f"there is no other model {entry.refiner!r} in the catalog", "models", name, "refiner")
        for name, profile in self.profiles.items():
            for index, model in enumerate(profile.models):
                if model not in self.models:
                    raise KeyProblem(f"there is no model {model!r} in the catalog", "profiles", name, "models", index)
                if why := self.models[model].unusable:
                    raise KeyProblem(f"{model!r} cannot be loaded: {why}", "profiles", name, "models", index)
        return self

    def profile(self, name: str) -> Profile:
        """The profile of that name.

        Raises:
            ConfigurationError: There is no such profile.
        """
        if name not in self.profiles:
            raise ConfigurationError(f"there is no profile {name!r}; use one of {', '.join(self.profiles)}")
        return self.profiles[name]
