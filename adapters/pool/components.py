"""The components that a catalog entry names beside its model: a refiner and LoRAs."""

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


async def fetch_components(
    name: str, entry: ModelEntry, models: Mapping[str, ModelEntry], fetch: Fetch, report: Report
) -> dict[str, str]:
    """Paths of the components, as in `ModelFiles.components`.

    Args:
        name: The model's name.
        entry: Its catalog entry.
        models: The catalog, for the entry of the refiner.
        fetch: Fetches a model's files.
        report: Called with the progress.

    Raises:
        ModelLoadFailed: A component could not be fetched, or is not what it should be.
    """
    found: dict[str, str] = {}
    if entry.refiner:
        found[REFINER] = str(await fetch(entry.refiner, models[entry.refiner], report))
    for lora, source in entry.loras.items():
        found[LORA + lora] = str(await _fetch_lora(f"{name}.{lora}", entry, source, fetch, report))
    return found


async def _fetch_lora(name: str, entry: ModelEntry, source: Source, fetch: Fetch, report: Report) -> Path:
    """The one safetensors file of a LoRA's source."""
    if isinstance(source, LocalSource) and source.path.suffix == ".safetensors":
        return await asyncio.to_thread(_checked, name, source.path)
    alone = entry.model_copy(update={"sources": (source,), "refiner": "", "loras": {}})
    directory = await fetch(name, alone, report)
    files = sorted(directory.glob("*.safetensors"))
    if len(files) != 1:
        raise ModelLoadFailed(
            f"The source of the LoRA {name!r} has {len(files)} safetensors files; name one file in the catalog."
        )
    return files[0]


def _checked(name: str, path: Path) -> Path:
    try:
        if path.is_symlink() or not path.is_file():
            raise ModelLoadFailed(f"The file of the LoRA {name!r} does not exist, or is not a regular file.")
        for problem in safetensors_problems(path):
            raise ModelLoadFailed(f"The file of the LoRA {name!r} is not valid: {problem}.")
    except OSError as error:
        raise ModelLoadFailed(f"The file of the LoRA {name!r} cannot be read: {error.strerror}.") from None
    return path.resolve()


def components_bytes(entry: ModelEntry, path: Path, components: Mapping[str, str]) -> int:
    """Bytes that the components add to the model's own memory; 0 where its entry declares the total.

    The refiner works after its base and needs no more memory for that, so it adds only its weights.

    Args:
        entry: The model's catalog entry.
        path: The model's directory.
        components: As returned by `fetch_components`.
    """
    if entry.memory_bytes is not None:
        return 0
    dtype = estimate.describe_workload(entry, estimate.device_of(entry)).get("dtype")
    total = 0
    try:
        for name, location in components.items():
            if name.startswith(LORA):
                total += Path(location).stat().st_size
                continue
            shared = shared_components(path, Path(location))
            for component in sorted(Path(location).iterdir()):
                if component.is_dir() and component.name not in shared:
                    total += weight_files.directory_bytes(component, dtype)
    except (OSError, weight_files.BadWeights):
        return total  # the load that follows reports what is wrong with them
    return total
