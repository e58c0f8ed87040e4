"""What a model's entry names beside the model: its refiner, and its LoRAs. Brought and counted with it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from adapters.base import LORA, REFINER, Report
from adapters.catalog.catalog import ModelEntry
from adapters.catalog.sources import LocalSource, Source
from adapters.engines.shared_components import shared_components
from adapters.errors import ModelLoadFailed
from adapters.loader.weight_headers import safetensors_problems
from adapters.memory import estimate, weight_files

Fetch = Callable[[str, ModelEntry, Report], Awaitable[Path]]


async def fetch_parts(
    name: str, entry: ModelEntry, models: Mapping[str, ModelEntry], fetch: Fetch, report: Report
) -> dict[str, str]:
    """Where the parts are, as `ModelFiles.components` has them.

    Args:
        name: The model's.
        entry: Its entry.
        models: The catalog, for its refiner.
        fetch: Brings a model's files.
        report: Hears of progress.

    Raises:
        ModelLoadFailed: One could not be had, or is not what it should be.
    """
    found: dict[str, str] = {}
    if entry.refiner:
        found[REFINER] = str(await fetch(entry.refiner, models[entry.refiner], report))
    for lora, source in entry.loras.items():
        found[LORA + lora] = str(await _lora(f"{name}.{lora}", entry, source, fetch, report))
    return found


async def _lora(name: str, entry: ModelEntry, source: Source, fetch: Fetch, report: Report) -> Path:
    """The one safetensors file of a LoRA's source."""
    if isinstance(source, LocalSource) and source.path.suffix == ".safetensors":
        return await asyncio.to_thread(_checked, name, source.path)
    alone = entry.model_copy(update={"sources": (source,), "refiner": "", "loras": {}})
    directory = await fetch(name, alone, report)
    files = sorted(directory.glob("*.safetensors"))
    if len(files) != 1:
        raise ModelLoadFailed(f"The LoRA {name!r} is {len(files)} safetensors files; name the one that is meant.")
    return files[0]


def _checked(name: str, path: Path) -> Path:
    try:
        if path.is_symlink() or not path.is_file():
            raise ModelLoadFailed(f"The LoRA {name!r} is not there, or is not a file.")
        for problem in safetensors_problems(path):
            raise ModelLoadFailed(f"The LoRA {name!r} is refused: {problem}.")
    except OSError as error:
        raise ModelLoadFailed(f"The LoRA {name!r} cannot be read: {error.strerror}.") from None
    return path.resolve()


def parts_bytes(entry: ModelEntry, path: Path, parts: Mapping[str, str]) -> int:
    """Bytes that the parts add to the model's own; 0 where its entry says what all of it takes.

    The refiner works after its base, and needs no more while it does: what it adds is its weights.

    Args:
        entry: The model's.
        path: Of the model.
        parts: As `fetch_parts` gave them.
    """
    if entry.memory_bytes is not None:
        return 0
    dtype = estimate.describe_workload(entry, estimate.device_of(entry)).get("dtype")
    total = 0
    try:
        for name, place in parts.items():
            if name.startswith(LORA):
                total += Path(place).stat().st_size
                continue
            shared = shared_components(path, Path(place))
            for component in sorted(Path(place).iterdir()):
                if component.is_dir() and component.name not in shared:
                    total += weight_files.weigh_files(component, dtype)
    except (OSError, weight_files.BadWeights):
        return total  # loading will say what is wrong with them
    return total
