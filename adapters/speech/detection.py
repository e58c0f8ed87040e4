"""Recognizes Whisper in CTranslate2's format by a repository's config files."""

from collections.abc import Mapping
from typing import Any

from adapters.errors import ModelLoadFailed
from adapters.registry import Detected

WHISPER_KEYS = frozenset({"alignment_heads", "lang_ids", "suppress_ids", "suppress_ids_begin"})
"""Of the `config.json` that CTranslate2's converter writes for Whisper, and for no other model."""


def detect(configs: Mapping[str, Any]) -> Detected:
    """A Whisper model by its config files. See `Backend.detect`."""
    if WHISPER_KEYS.isdisjoint(configs.get("config.json", {})):
        raise ModelLoadFailed("its model.bin is CTranslate2's, but its config.json is not that of a Whisper model")
    return Detected("speech")
