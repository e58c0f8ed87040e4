"""Configuration of one model: defaults per kind, and files. It is IModelConfiguration of the interface specification.

`adapters/memory/validation.py` checks whether it works on this machine. The models that a server serves are in the
catalog (`adapters/catalog/catalog.py`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from adapters.base import Kind
from adapters.catalog.entries import Catalog, ModelEntry
from adapters.catalog.sources import HubSource
from adapters.catalog.yaml_lines import ConfigurationError, read_located
from adapters.files import write_file
from adapters.registry import BACKENDS, Backend, default_backend, implementation

KIND_NAMES: Mapping[str, Kind] = {
    "speech-recognition": "speech",
    "text-generation": "text",
    "vision-language": "vision",
    "image-generation": "image",
    "video-generation": "video",
}
"""Model types of the interface specification."""

MODEL_KEYS = frozenset({"model", "model_name", "model_type"})
"""Keys that a model's configuration has and a catalog's entry has not."""

ComputeType = Literal[
    "auto", "float32", "float16", "bfloat16", "fp8", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int4"
]


def to_kind(name: Any) -> Any:
    """The kind for a kind's name or a model type of the interface specification; other values unchanged."""
    return KIND_NAMES.get(name, name) if isinstance(name, str) else name


class ModelConfig(BaseModel):
    """How to run one model. The field names of the interface specification (`model_type`, `model_name`) work too."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Annotated[Kind, BeforeValidator(to_kind)] = Field(validation_alias=AliasChoices("kind", "model_type"))
    """Or a model type of the interface specification: "speech-recognition", "text-generation", ..."""
    model: str = Field(min_length=1, max_length=200, validation_alias=AliasChoices("model", "model_name"))
    """A model of the catalog, by its name or its repository: "sdxl", "Qwen/Qwen2.5-14B-Instruct"."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """"auto": a GPU where there is one."""
    compute_type: ComputeType = "auto"
    """Of weights and arithmetic; "auto": chosen by the model and the device."""
    batch_size: int = Field(1, ge=1, le=1024)
    """Images or answers generated at once. Other kinds ignore it, with a warning."""
    context_length: int | None = Field(None, ge=16)
    """Tokens of prompt and answer (text, vision) or of one input (embeddings); None: the model's maximum."""
    width: int | None = Field(None, ge=32, le=8192)
    """Pixels, for images and videos; None: the model's native width."""
    height: int | None = Field(None, ge=32, le=8192)
    num_frames: int | None = Field(None, ge=1, le=10_000)
    """Of a video; None: the model's native number."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """Values of request fields that a request does not set, by field name."""


_DEFAULTS: Mapping[Kind, dict[str, Any]] = {
    "text": {
        "model": "qwen2.5-14b-instruct",
        "defaults": {"max_tokens": 1024, "temperature": 0.7, "top_p": 0.9},
        "batch_size": 32,
    },
    "vision": {
        "model": "llava-onevision-7b",
        "defaults": {"max_tokens": 512, "temperature": 0.7, "top_p": 0.9},
        "batch_size": 32,
    },
    "embedding": {"model": "all-minilm-l6-v2"},
    "speech": {
        "model": "whisper-large-v3",
        "defaults": {"beam_size": 5, "word_timestamps": True, "max_words_per_line": 10},
    },
    "voice": {"model": "kokoro-82m"},
    "image": {
        "model": "sdxl",
        "width": 1024,
        "height": 1024,
        "defaults": {"num_inference_steps": 30, "guidance_scale": 7.5},
    },
    "video": {
        "model": "ltx-video",
        "width": 768,
        "height": 512,
        "num_frames": 121,
        "defaults": {"fps": 24, "num_inference_steps": 50, "guidance_scale": 7.5},
    },
}
"""Recommended models and default parameters of the interface specification, and ours for the other kinds."""


def default_config(kind: str) -> ModelConfig:
    """The default configuration of a kind.

    Args:
        kind: A kind, or a model type of the interface specification.

    Raises:
        ConfigurationError: There is no such kind.
    """
    known = to_kind(kind)
    if known not in get_args(Kind):
        raise ConfigurationError(f"there is no kind {kind!r}; use one of {', '.join(get_args(Kind))}")
    return ModelConfig(kind=known, **_DEFAULTS[known])


def load_config(path: Path) -> ModelConfig:
    """A configuration from a YAML or JSON file.

    Raises:
        ConfigurationError: It cannot be read or is not valid; each line of the message has file, line and key.
    """
    file = read_located(path)
    try:
        return ModelConfig.model_validate(file.data)
    except ValidationError as error:
        raise file.error(error) from None


def save_config(config: ModelConfig, path: Path) -> None:
    """Writes a configuration atomically, as JSON if the name ends in .json, otherwise as YAML.

    Raises:
        ConfigurationError: It cannot be written.
    """
    data = config.model_dump(mode="json", exclude_none=True)
    is_json = path.suffix == ".json"
    text = json.dumps(data, indent=2) + "\n" if is_json else yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Writes a text file so that readers see either the old text or the new one.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        write_file(path, text.encode())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def find_entry(model: str, catalog: Catalog) -> ModelEntry | None:
    """The catalog entry of that name, or the first with that repository among its sources."""
    if model in catalog.models:
        return catalog.models[model]
    repo = model.removeprefix("hf://").partition("@")[0]
    sources = ((entry, source) for entry in catalog.models.values() for source in entry.sources)
    return next((entry for entry, source in sources if isinstance(source, HubSource) and source.repo == repo), None)


def to_entry(config: ModelConfig, entry: ModelEntry | None = None) -> ModelEntry:
    """The catalog entry that runs a model as its configuration says.

    Args:
        config: What is wanted.
        entry: The catalog's entry; None: the model is known only by its repository.

    Raises:
        ConfigurationError: The model's backend does not support a value; the message names the field.
    """
    backend = entry.backend if entry else default_backend(config.kind)
    row = BACKENDS[backend]
    options: dict[str, Any] = dict(entry.options) if entry else {}
    fields: dict[str, str] = {}
    for name, value in config.model_dump(include={key.partition(":")[0] for key in row.config}).items():
        if value is not None and value != "auto":
            option = row.config.get(f"{name}:{value}") or row.config[name]
            options[option], fields[option] = value, name
    defaults = {**(entry.defaults if entry else {}), **config.defaults}
    defaults |= config.model_dump(include=set(row.sizes), exclude_none=True)
    data: dict[str, Any] = {"kind": config.kind, "backend": backend, "options": options, "defaults": defaults}
    try:
        if entry is None:
            data["sources"] = (f"hf://{config.model.removeprefix('hf://')}",)
        else:  # the memory at work was measured with other options
            kept = ModelEntry.model_fields.keys() - data.keys() - {"memory_bytes"}
            data |= {name: getattr(entry, name) for name in kept}
        made = ModelEntry.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError("; ".join(one["msg"] for one in error.errors())) from None
    if problems := implementation(backend).Options.problems(options):
        raise ConfigurationError("; ".join(f"{fields.get(name, name)}: {problem}" for name, problem in problems))
    return made


def unsupported(config: ModelConfig, row: Backend) -> list[str]:
    """Errors for the fields that are set and that a backend does not support, each beginning with the field's name."""
    found: list[str] = []
    for name in ("compute_type", "context_length", "width", "height", "num_frames"):
        if getattr(config, name) not in (None, "auto") and not row.supports(name):
            found.append(f"{name}: cannot be set for {config.kind} models; leave it out")
    return found


def with_options(entry: ModelEntry, *, device: str, compute_type: str) -> ModelEntry:
    """A catalog entry that runs on another device or with another compute type.

    Args:
        entry: The catalog's.
        device: "auto": as the entry says; "cuda" or "cpu".
        compute_type: "auto": as the entry says; or one of `ComputeType`.

    Raises:
        ConfigurationError: Its backend does not support a value; the message starts with the field's name.
    """
    row = BACKENDS[entry.backend]
    options: dict[str, Any] = dict(entry.options)
    fields: dict[str, str] = {}
    for name, value in (("device", device), ("compute_type", compute_type)):
        if value == "auto":
            continue
        option = row.config.get(f"{name}:{value}") or row.config.get(name)
        if option is None:
            raise ConfigurationError(f"{name}: cannot be set for models of backend {entry.backend}; leave it out")
        options[option], fields[option] = value, name
    if problems := implementation(entry.backend).Options.problems(options):
        raise ConfigurationError("; ".join(f"{fields.get(name, name)}: {problem}" for name, problem in problems))
    return entry.model_copy(update={"options": options})
