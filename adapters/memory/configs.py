"""Config files of models: in a model's directory, and of catalog models before a download."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters.catalog.entries import ModelEntry
from adapters.catalog.sources import HubSource
from adapters.memory import weight_files

Configs = Mapping[str, Any]
"""Parsed JSON files of a model by relative path: "config.json", "unet/config.json"."""
KNOWN = Path(__file__).with_name("known")
"""Config files of catalog models, to estimate them before a download; README.md there has their origin."""


def known_configs(entry: ModelEntry) -> Configs | None:
    """The config files of a catalog model that this package includes, by the name of its repository."""
    for source in entry.sources:
        if isinstance(source, HubSource) and source.file is None:
            path = KNOWN / f"{source.repo.replace('/', '--')}.json"
            if path.is_file():
                return json.loads(path.read_text("utf-8"))
    return None


def read_configs(directory: Path) -> Configs:
    """The config files in a model's directory.

    Raises:
        BadWeights: The binary of a Whisper model, which has its shapes, is damaged.
        ValueError: A file is not JSON.
    """
    paths = [*sorted(directory.glob("*config.json")), *sorted(directory.glob("*/config.json"))]
    configs = {str(path.relative_to(directory)): json.loads(path.read_text("utf-8")) for path in paths}
    if (directory / "model.bin").is_file():
        configs["config.json"] = weight_files.whisper_shape(directory / "model.bin")
    return configs
