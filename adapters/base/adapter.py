"""What every kind of model shares: its files, its loading, and the base class of all adapters."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict

from adapters.errors import ModelLoadFailed

Kind = Literal["text", "vision", "embedding", "speech", "voice", "image", "video"]


REFINER = "refiner"
"""The refiner's name in `ModelFiles.components`."""


LORA = "lora:"
"""What precedes a LoRA's name in `ModelFiles.components`."""


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
    """GPUs that it has been given, as nvidia-smi numbers them; empty: it is to run on the CPU; None: it may choose."""
    components: Mapping[str, str] = field(default_factory=dict[str, str])
    """Absolute paths of what its entry names beside it: "refiner", a directory, and "lora:NAME", a safetensors file."""


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """One line of progress while a model is made ready."""

    stage: str
    """What happens now: "downloading", "converting", "starting engine"."""
    fraction: float | None = None
    """0..1 of this stage, or None where nobody knows."""
    done_bytes: int | None = None
    """What this stage has fetched or read so far, where it counts bytes."""
    total_bytes: int | None = None
    """What it will have fetched or read in the end."""


Report = Callable[[LoadProgress], None]


class Adapter(ABC):
    """A loaded model. Subclasses add the verbs of their kind; backends implement those.

    A backend is one class with a nested `Options`, one row in `adapters/registry.py` and one in the contract test.
    """

    kind: ClassVar[Kind]

    class Options(BaseModel):
        """What the operator may set for this backend in the configuration; unknown names are refused."""

        model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    @abstractmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """A ready adapter over the model's files.

        Raises:
            ModelLoadFailed: The files are missing, broken or refused, or the backend did not start.
            OutOfMemory: It does not fit.
        """

    @abstractmethod
    async def unload(self) -> None:
        """Gives back all memory and ends all processes of this model. Work in progress ends in `Interrupted`."""

    @property
    def alive(self) -> bool:
        """False once the model can serve no more (its process died) and must be loaded anew."""
        return True

    async def sleep(self) -> bool:
        """Gives back the memory it computes in and keeps what `wake` needs; False where it cannot: nothing is done."""
        return False

    async def wake(self) -> None:
        """Ready again after `sleep`, sooner than a new load would be. Raises as `load`."""
        raise ModelLoadFailed("This model cannot sleep.")

    def memory_bytes(self) -> int | None:
        """What this model holds now, in the memory that it computes in; None where nobody can tell."""
        return None
