"""What all kinds share: a model's files and options, loading, and the base class of adapters."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.errors import ModelLoadFailed

Kind = Literal["text", "vision", "embedding", "speech", "voice", "image", "video"]


REFINER = "refiner"
"""The refiner's name in `ModelFiles.components`."""


LORA = "lora:"
"""The prefix of a LoRA's name in `ModelFiles.components`."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model to load: files that are already on this machine, and how to run them."""

    name: str
    """The served name."""
    backend: str
    """A row of `adapters/registry.py`."""
    path: str
    """Absolute path of the checkpoint's directory."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Validated by the backend's own `Options`."""
    devices: tuple[int, ...] | None = None
    """GPUs that it must use, by nvidia-smi index; empty: it must run on the CPU; None: it may choose."""
    components: Mapping[str, str] = field(default_factory=dict[str, str])
    """Absolute paths of the components in its entry: "refiner", a directory, and "lora:NAME", a safetensors file."""
    cache_bytes: int | None = None
    """Bytes on each GPU that the budget leaves for its attention cache; None: as its options say."""


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """Progress of loading a model."""

    stage: str
    """The current stage: "downloading", "converting", "starting engine"."""
    fraction: float | None = None
    """0..1 of this stage; None: unknown."""
    done_bytes: int | None = None
    """Bytes that this stage has processed; None: it does not count bytes."""
    total_bytes: int | None = None
    """Bytes that this stage will have processed at its end."""


Report = Callable[[LoadProgress], None]


class Adapter(ABC):
    """A loaded model. Subclasses add the methods of their kind; backends implement them.

    A backend is one class with a nested `Options`, one row in `adapters/registry.py` and one in the contract test.
    """

    kind: ClassVar[Kind]
    asleep_bytes: ClassVar[int] = 0
    """What it holds on each of its GPUs while it sleeps, for machines on which that cannot be measured."""

    class Options(BaseModel):
        """What the operator may set for this backend in the catalog. Unknown names are errors."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        @classmethod
        def of(cls, model: ModelFiles) -> Self:
            """The validated options of a model. Every `load` begins with this.

            Raises:
                ModelLoadFailed: An option has an unknown name or a wrong value; the message names each.
            """
            try:
                return cls.model_validate(dict(model.options))
            except ValidationError as error:
                wrong = "; ".join(f"{name}: {problem}" for name, problem in cls.describe(error))
                raise ModelLoadFailed(
                    f"The model {model.name!r} has wrong options ({wrong}). Correct its `options` in the catalog."
                ) from error

        @classmethod
        def problems(cls, options: Mapping[str, Any]) -> list[tuple[str, str]]:
            """What is wrong with some options: (dotted name, problem) of each; empty where they are valid."""
            try:
                cls.model_validate(dict(options))
            except ValidationError as error:
                return cls.describe(error)
            return []

        @classmethod
        def describe(cls, error: ValidationError) -> list[tuple[str, str]]:
            """The problems in a validation error of these options: (dotted name, problem) of each."""
            known = ", ".join(cls.model_fields) or "none"
            return [
                (
                    ".".join(map(str, one["loc"])),
                    f"there is no such option; there are: {known}" if one["type"] == "extra_forbidden" else one["msg"],
                )
                for one in error.errors(include_url=False, include_input=False, include_context=False)
            ]

    @classmethod
    @abstractmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """Loads the model from its files.

        Raises:
            ModelLoadFailed: Files are missing or not valid, an option is wrong, or the backend did not start.
            OutOfMemory: It does not fit.
        """

    @abstractmethod
    async def unload(self) -> None:
        """Frees all memory and ends all processes of this model. Work in progress ends in `Interrupted`."""

    @property
    def alive(self) -> bool:
        """False once the model cannot serve any more (its process died) and must be loaded again."""
        return True

    async def sleep(self) -> bool:
        """Frees most of the device memory and keeps what `wake` needs; returns False, without effect, if it cannot."""
        return False

    async def wake(self) -> None:
        """Makes the model ready again after `sleep`, faster than `load`. Raises as `load`."""
        raise ModelLoadFailed("This model's backend does not support sleep.")

    def memory_bytes(self) -> int | None:
        """Device memory that this model holds now; None: unknown."""
        return None
