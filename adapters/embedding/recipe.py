"""How a checkpoint is to be used: the files that sentence-transformers writes beside the weights. No tensors here.

A module that this code does not know would change the vectors, so it is refused and never skipped.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt

from adapters.base import Adapter
from adapters.errors import ModelLoadFailed
from adapters.registry import Detected

Pooling = Literal["cls", "mean", "last"]
"""How a text's vector is computed from its tokens' vectors: the first, their mean, or the last."""

_POOLINGS: dict[str, Pooling] = {
    "cls": "cls",
    "cls_token": "cls",
    "mean": "mean",
    "mean_tokens": "mean",
    "lasttoken": "last",
}
"""By their names in sentence-transformers."""

_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet")
"""Model types that never use their positions up to that of the padding token: they accept fewer tokens."""


class EmbeddingOptions(Adapter.Options):
    """What the operator may set for every embedding model. Code from a model's repository never runs."""

    pooling: Pooling | None = None
    """None: as in `modules.json`; without that file it must be set."""
    max_tokens: PositiveInt | None = None
    """Longer inputs are refused; None: the checkpoint's own limit. Never more than the model has positions."""
    matryoshka: bool | tuple[PositiveInt, ...] | None = None
    """Which `dimensions` a request may ask for: any (true), none (false), or these; None: as in `config.json`
    (`is_matryoshka`, `matryoshka_dimensions`). Only for models that were trained for it (arXiv 2205.13147)."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Of weights and activations; "auto": float32 on a CPU, else as in the checkpoint, float32 becoming float16."""
    threads: int | None = Field(None, ge=1, le=256)
    """On a CPU; None: OMP_NUM_THREADS, or one per core that this process may use."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a checkpoint's hidden states become vectors."""

    pooling: Pooling
    max_tokens: int
    """Of one input, special tokens included."""
    width: int
    """Dimensions of a whole vector."""
    vocabulary: int
    """Token ids are below this."""
    sizes: tuple[int, ...] | None = ()
    """Smaller dimensions that a request may ask for; None: all."""
    prompt: str = ""
    """Precedes every text; "" unless the checkpoint has a default prompt."""
    lowercase: bool = False
    """Whether texts are lower-cased before the tokenizer sees them."""


def detect(configs: Mapping[str, Any]) -> Detected:
    """A sentence-transformers checkpoint by its config files. See `Backend.detect`."""
    # INTERNAL transformers==5: the table that `AutoConfig` uses.
    from transformers.models.auto.configuration_auto import (
        CONFIG_MAPPING_NAMES,  # pyright: ignore[reportPrivateImportUsage]
    )

    model_type = configs.get("config.json", {}).get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING_NAMES:
        raise ModelLoadFailed(f"the installed transformers does not know its model type {str(model_type)[:80]!r}")
    return Detected("embedding")


def read_recipe(directory: Path, options: EmbeddingOptions) -> Recipe:
    """The recipe of a checkpoint; the operator's options override it.

    Raises:
        ModelLoadFailed: Files are missing or damaged, or they need something that is not supported.
    """
    config = _json(directory / "config.json")
    if config is None:
        raise ModelLoadFailed("The model's files are missing or incomplete: there is no config.json.")
    try:
        saved = _json(directory / "sentence_bert_config.json") or {}
        width, vocabulary = int(config["hidden_size"]), int(config["vocab_size"])
        return Recipe(
            pooling=options.pooling or _pooling(directory),
            max_tokens=_max_tokens(directory, config, saved, options.max_tokens),
            width=width,
            vocabulary=vocabulary,
            sizes=_sizes(config, options.matryoshka, width),
            prompt=_prompt(directory),
            lowercase=bool(saved.get("do_lower_case")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelLoadFailed(f"A configuration file of the model has a missing or wrong value: {error}.") from error


def _json(path: Path) -> Any:
    """A file's content, or None if there is no such file."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelLoadFailed(f"The model's {path.name} is not valid JSON.") from error


def _pooling(directory: Path) -> Pooling:
    modules = _json(directory / "modules.json")
    if modules is None:
        raise ModelLoadFailed("The model has no modules.json, so its pooling is unknown. Set the option `pooling`.")
    found: list[Pooling] = []
    for module in modules:
        kind, folder = str(module["type"]).rpartition(".")[2], str(module["path"])
        if kind == "Pooling" and Path(folder).name == folder:
            found.append(_pooling_mode(_json(directory / folder / "config.json") or {}))
        elif kind not in ("Transformer", "Normalize") or (kind == "Transformer" and folder):
            raise ModelLoadFailed(f"The model needs a module that is not supported: {kind[:80]!r}.")
    if len(found) != 1:
        raise ModelLoadFailed(f"The model has {len(found)} pooling modules; exactly one is supported.")
    return found[0]


def _pooling_mode(config: dict[str, Any]) -> Pooling:
    """The one mode of a pooling module's config: a text, or one of several switches."""
    if (mode := config.get("pooling_mode")) is None:
        modes = [name.removeprefix("pooling_mode_") for name, on in config.items() if on is True]
        modes = [name for name in modes if f"pooling_mode_{name}" in config]
    else:
        modes = mode if isinstance(mode, list) else [mode]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise ModelLoadFailed(f"The model's pooling is not supported: {', '.join(map(str, modes))[:80] or 'none'}.")
    if config.get("include_prompt") is False:
        raise ModelLoadFailed("The model's pooling excludes its prompt, which is not supported.")
    return _POOLINGS[modes[0]]


def _max_tokens(directory: Path, config: dict[str, Any], saved: dict[str, Any], wanted: int | None) -> int:
    positions = config.get("max_position_embeddings")
    if positions is not None and config.get("model_type") in _OFFSET_POSITIONS:
        positions -= int(config.get("pad_token_id") or 0) + 1
    own = saved.get("max_seq_length") or (_json(directory / "tokenizer_config.json") or {}).get("model_max_length")
    known = [int(one) for one in (positions, wanted or own) if one is not None]
    if not known or min(known) < 1:
        raise ModelLoadFailed("The model does not say how many tokens it accepts. Set the option `max_tokens`.")
    if wanted is not None and min(known) < wanted:
        raise ModelLoadFailed(f"The option max_tokens is {wanted}; the model has positions for {min(known)} tokens.")
    return min(known)


def _sizes(config: dict[str, Any], wanted: bool | tuple[int, ...] | None, width: int) -> tuple[int, ...] | None:
    if wanted is None:
        wanted = tuple(config.get("matryoshka_dimensions") or ()) or bool(config.get("is_matryoshka"))
    if isinstance(wanted, bool):
        return None if wanted else ()
    if not all(0 < int(size) <= width for size in wanted):
        raise ModelLoadFailed(f"The option matryoshka names more dimensions than the {width} of the model's vectors.")
    return tuple(sorted(int(size) for size in wanted))


def _prompt(directory: Path) -> str:
    saved = _json(directory / "config_sentence_transformers.json") or {}
    name = saved.get("default_prompt_name")
    return str(saved["prompts"][name]) if name else ""
