"""LoRAs: loaded with the model, and enabled for one batch at a time."""

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
    """The LoRAs of one pipeline: all loaded, none enabled."""

    def __init__(self, pipeline: Any, paths: Mapping[str, str]) -> None:
        """Loads them. Blocks; call it in the model's thread.

        Args:
            pipeline: In memory.
            paths: The safetensors file of each LoRA, by name.

        Raises:
            ModelLoadFailed: A file is not a LoRA, or is for another model.
            OutOfMemory: They do not fit.
        """
        self._pipeline = pipeline
        # peft uses the names as module names, in which some characters are not allowed.
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
            raise ModelLoadFailed(f"The LoRA {name!r} is damaged or was made for another model.") from error
        present = {one for adapters in self._pipeline.get_list_adapters().values() for one in adapters}
        if adapter not in present:
            raise ModelLoadFailed(f"The LoRA {name!r} contains no weights for this model.")

    def check(self, loras: Sequence[Lora]) -> None:
        """Raises `UnsupportedOption` for unknown names, duplicates, and scales out of range."""
        for lora in loras:
            check_range("lora.scale", lora.scale, -MAX_SCALE, MAX_SCALE)
            if lora.name not in self._adapters:
                known = ", ".join(self._adapters) or "none"
                raise UnsupportedOption(f"This model has no LoRA {lora.name[:64]!r}. Available: {known}.", param="lora")
        if len({lora.name for lora in loras}) < len(loras):
            raise UnsupportedOption("lora has the same name twice. Name each LoRA once.", param="lora")

    @contextmanager
    def applied(self, loras: Sequence[Lora]) -> Iterator[None]:
        """Enables these LoRAs within the context; afterwards none is enabled."""
        if not loras:
            yield
            return
        try:
            self._pipeline.enable_lora()
            self._pipeline.set_adapters([self._adapters[one.name] for one in loras], [one.scale for one in loras])
            yield
        finally:
            self._pipeline.disable_lora()
