"""Looks at a repository of a model hub: kind, backend and sizes of its model, from its list and its config files.

Nothing is kept on the disk. Everything in a repository is untrusted: names, sizes and the content of config files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from adapters.base import Kind
from adapters.catalog.sources import HubSource
from adapters.errors import ModelLoadFailed
from adapters.loader.hub_plan import (
    INDEX,
    LAST_SOURCE_TIMEOUT_S,
    Listing,
    describe_error,
    is_weights,
    list_files,
    logger,
    read_small,
    select,
)
from adapters.loader.verification import PICKLES, json_problems
from adapters.registry import BACKENDS, Detected, Layout, default_backend, detect, missing

RECOGNIZED = (INDEX, "config.json", "modules.json")
"""Files from which kind and backend are known."""
MAX_CONFIGS = 32


@dataclass(frozen=True, slots=True)
class Repository:
    """A model of a hub, before it is downloaded."""

    source: HubSource
    """With the commit."""
    kind: Kind
    backend: str
    license: str
    """As its model card names it; "": it does not."""
    files: int
    """Number of files to download."""
    download_bytes: int
    weights_bytes: int
    """Of the weight files among them."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Options of the backend that suit the model."""
    configs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Its config files by name, parsed."""


async def inspect(source: HubSource, *, endpoint: str | None = None, half: bool = False) -> Repository:
    """What a repository has.

    Args:
        source: The repository, at a revision or at its newest commit; or one GGUF file of it.
        endpoint: The hub's URL; None: Hugging Face, or what HF_ENDPOINT says.
        half: Whether weights in float16 are preferred, where a component has them in float32 as well.

    Raises:
        ModelLoadFailed: It cannot be reached or served; the message has the reason.
    """
    try:
        return await _inspect(source, endpoint, half)
    except ModelLoadFailed as error:
        reason = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in error.message)
        raise ModelLoadFailed(f"{source} cannot be served: {reason.rstrip('.')}.") from error
    except Exception as error:  # The library has many error classes, and they change.
        logger.info("%s: %r", source, error)
        raise ModelLoadFailed(f"{source}: {describe_error(error)}.") from error


async def _inspect(source: HubSource, endpoint: str | None, half: bool) -> Repository:
    listing = await list_files(source.repo, source.revision, endpoint, LAST_SOURCE_TIMEOUT_S)
    pinned = HubSource(repo=source.repo, revision=listing.commit, file=source.file)
    if source.file is not None:
        if not source.file.endswith(".gguf"):
            raise ModelLoadFailed("a single file must be a GGUF file; leave it out to download what the model needs")
        backend = default_backend("text")
        plan = await select(listing, pinned, backend, endpoint, LAST_SOURCE_TIMEOUT_S, half=half)
        size = sum(file.size_bytes for file in plan.files)
        return Repository(pinned, "text", backend, listing.license, len(plan.files), size, size)
    configs = {name: await _read(listing, name, endpoint) for name in RECOGNIZED if name in listing.names}
    layout = _layout(listing, configs)
    backend, found = _recognized(layout, configs)
    plan = await select(listing, pinned, backend, endpoint, LAST_SOURCE_TIMEOUT_S, half=half)
    others = [file.name for file in plan.files if file.name.endswith("config.json") and file.name not in configs]
    for name in others[:MAX_CONFIGS]:
        configs[name] = await _read(listing, name, endpoint)
    return Repository(
        source=pinned,
        kind=found.kind,
        backend=backend,
        license=listing.license,
        files=len(plan.files),
        download_bytes=sum(file.size_bytes for file in plan.files),
        weights_bytes=sum(file.size_bytes for file in plan.files if is_weights(file.name)),
        options=found.options,
        configs=configs,
    )


async def _read(listing: Listing, name: str, endpoint: str | None) -> Any:
    """A config file, parsed; `modules.json` is a list, all others are mappings."""
    size = next((file.size for file in listing.files if file.rfilename == name), None)
    content = await read_small(listing, name, endpoint, LAST_SOURCE_TIMEOUT_S) if size else b""
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise ModelLoadFailed(f"{name} is not JSON") from None
    if not isinstance(found, list if name == "modules.json" else dict):
        raise ModelLoadFailed(f"{name} is not a JSON {'list' if name == 'modules.json' else 'object'}")
    for problem in json_problems(name, found):
        raise ModelLoadFailed(f"{name}: {problem}")
    return cast(Any, found)


def _layout(listing: Listing, configs: Mapping[str, Any]) -> Layout:
    """How the repository's files are arranged.

    Raises:
        ModelLoadFailed: It has no model, or none in a format that is loaded.
    """
    names = listing.names
    if "adapter_config.json" in names and "config.json" not in names:
        raise ModelLoadFailed("it is an adapter (LoRA) for another model, not a model")
    if INDEX in names:
        return "diffusers"
    if "model.bin" in names and any(name.startswith("vocabulary.") for name in names):
        return "ctranslate2"
    if "config.json" not in names:
        if gguf := sorted(name for name in names if name.endswith(".gguf")):
            raise ModelLoadFailed(f"it has GGUF files alone; name one, as in {listing.repo}/{gguf[0]}")
        raise ModelLoadFailed("it has no config.json and no model_index.json, so its model is unknown")
    if not any(is_weights(name) for name in names) and any(name.endswith(tuple(PICKLES)) for name in names):
        raise ModelLoadFailed("its weights are pickles, which can run code; use a repository with safetensors")
    return "sentence-transformers" if "modules.json" in names else "flat"


def _recognized(layout: Layout, configs: Mapping[str, Any]) -> tuple[str, Detected]:
    """(backend, what it detected) of the first backend that runs the model.

    Raises:
        ModelLoadFailed: None does; the message has the reason of each.
    """
    reasons: list[str] = []
    for backend, row in BACKENDS.items():
        function = detect(backend) if row.layout == layout else None
        if function is None:
            continue
        if absent := missing(backend):
            reasons.append(absent.rstrip("."))
            continue
        try:
            return backend, function(configs)
        except ModelLoadFailed as error:
            reasons.append(error.message)
    raise ModelLoadFailed("; ".join(dict.fromkeys(reasons)))
