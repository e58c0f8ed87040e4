"""LoRAs: small sets of weights that lie ready beside a model's own, and are switched on for a batch at a time."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.base import Lora
from adapters.engines.diffusers import check_range
from adapters.engines.errors import translated
from adapters.errors import GenerationFailed, ModelLoadFailed, UnsupportedOption

MAX_SCALE = 10.0


class Loras:
    """The LoRAs of one pipeline, all loaded and none in force."""

    def __init__(self, pipeline: Any, paths: Mapping[str, str]) -> None:
        """Loads them. Blocks; to be called in the model's thread.

        Args:
            pipeline: In memory.
            paths: A safetensors file for each name.

        Raises:
            ModelLoadFailed: One is no LoRA, or is made for another model.
            OutOfMemory: They do not fit.
        """
        self._pipeline = pipeline
        # Names of peft become names of modules, in which some characters mean something.
        self._adapters = {name: f"lora_{number}" for number, name in enumerate(paths)}
        for name, adapter in self._adapters.items():
            self._load(name, adapter, Path(paths[name]))
        if paths:
            pipeline.disable_lora()

    def _load(self, name: str, adapter: str, path: Path) -> None:
        try:
            with translated():
                self._pipeline.load_lora_weights(
                    str(path.parent), weight_name=path.name, adapter_name=adapter, local_files_only=True
                )
        except GenerationFailed as error:
            raise ModelLoadFailed(f"The LoRA {name!r} does not fit the model.") from error
        present = {one for adapters in self._pipeline.get_list_adapters().values() for one in adapters}
        if adapter not in present:
            raise ModelLoadFailed(f"The LoRA {name!r} holds no weights for this model.")

    def check(self, loras: Sequence[Lora]) -> None:
        """Raises `UnsupportedOption` unless all are known, each comes once, and no scale is out of range."""
        for lora in loras:
            check_range("lora.scale", lora.scale, -MAX_SCALE, MAX_SCALE)
            if lora.name not in self._adapters:
                known = ", ".join(self._adapters) or "none"
                raise UnsupportedOption(f"This model has no LoRA {lora.name[:64]!r}; it has {known}.", param="lora")
        if len({lora.name for lora in loras}) < len(loras):
            raise UnsupportedOption("Name each LoRA once.", param="lora")

    @contextmanager
    def applied(self, loras: Sequence[Lora]) -> Iterator[None]:
        """Within it, these are in force; afterwards none is, however it ends."""
        if not loras:
            yield
            return
        try:
            self._pipeline.enable_lora()
            self._pipeline.set_adapters([self._adapters[one.name] for one in loras], [one.scale for one in loras])
            yield
        finally:
            self._pipeline.disable_lora()
