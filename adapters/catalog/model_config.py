"""One model's configuration: defaults per kind, and files. Whether it works here: `adapters/memory/validation.py`.

The seed's IModelConfiguration. Which models a server serves is another matter: `adapters/catalog/catalog.py`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from adapters.base import Kind
from adapters.catalog.catalog import Catalog, ModelEntry
from adapters.catalog.sources import HubSource
from adapters.catalog.yaml_lines import ConfigurationError, read_located
from adapters.files import write_file
from adapters.registry import implementation

KIND_NAMES: Mapping[str, Kind] = {
    "speech-recognition": "speech",
    "text-generation": "text",
    "vision-language": "vision",
    "image-generation": "image",
    "video-generation": "video",
}
"""The seed's names of model types."""

ComputeType = Literal[
    "auto", "float32", "float16", "bfloat16", "fp8", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int4"
]
BACKEND_OF: Mapping[Kind, str] = {
    "text": "vllm",
    "vision": "vllm",
    "embedding": "transformers-embedding",
    "speech": "faster-whisper",
    "voice": "kokoro",
    "image": "diffusers-image",
    "video": "diffusers-video",
}


def to_kind(name: Any) -> Any:
    """A kind by its own name or the seed's; anything else as it is."""
    return KIND_NAMES.get(name, name) if isinstance(name, str) else name


class ModelConfig(BaseModel):
    """How one model is to be run. The seed's names (`model_type`, `model_name`) are read as well."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Annotated[Kind, BeforeValidator(to_kind)] = Field(validation_alias=AliasChoices("kind", "model_type"))
    """Or one of the seed's: "speech-recognition", "text-generation", "vision-language", "image-generation", ..."""
    model: str = Field(min_length=1, max_length=200, validation_alias=AliasChoices("model", "model_name"))
    """A model of the catalog, by its name or its repository: "sdxl", "Qwen/Qwen2.5-14B-Instruct"."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """"auto": a GPU where there is one."""
    compute_type: ComputeType = "auto"
    """Of weights and arithmetic; "auto": what suits the model and the device."""
    batch_size: int = Field(1, ge=1, le=1024)
    """Images drawn at once, or answers written at once. Sounds and videos are done one by one, embeddings by tokens."""
    context_length: int | None = Field(None, ge=16)
    """Tokens of prompt and answer, for text and vision, or of one input, for embeddings; None: what the model can."""
    width: int | None = Field(None, ge=32, le=8192)
    """Pixels, for images and videos; None: the model's own."""
    height: int | None = Field(None, ge=32, le=8192)
    num_frames: int | None = Field(None, ge=1, le=10_000)
    """Of a video; None: the model's own."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """What requests mean that leave a field out, by the fields' names."""


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
"""The seed's recommended models and default parameters; the seed has no embeddings and no voice."""


def default_config(kind: str) -> ModelConfig:
    """The seed's configuration of a kind.

    Args:
        kind: Ours or the seed's name of it.

    Raises:
        ConfigurationError: There is no such kind.
    """
    known = to_kind(kind)
    if known not in get_args(Kind):
        raise ConfigurationError(f"there is no kind {kind!r}; there are {', '.join(get_args(Kind))}")
    return ModelConfig(kind=known, **_DEFAULTS[known])


def load_config(path: Path) -> ModelConfig:
    """A configuration from a YAML or JSON file.

    Raises:
        ConfigurationError: It cannot be read or does not fit; each line of the message names file, line and key.
    """
    file = read_located(path)
    try:
        return ModelConfig.model_validate(file.data)
    except ValidationError as error:
        raise file.error(error) from None


def save_config(config: ModelConfig, path: Path) -> None:
    """Writes a configuration, as JSON where the name ends so, else as YAML; whole or not at all.

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
    """The catalog's entry of that name, or the first with that repository among its sources."""
    if model in catalog.models:
        return catalog.models[model]
    repo = model.removeprefix("hf://").partition("@")[0]
    sources = ((entry, source) for entry in catalog.models.values() for source in entry.sources)
    return next((entry for entry, source in sources if isinstance(source, HubSource) and source.repo == repo), None)


def to_entry(config: ModelConfig, entry: ModelEntry | None = None) -> ModelEntry:
    """The catalog entry that runs a model as its configuration says.

    Args:
        config: What is wanted.
        entry: The catalog's; None: the model is known by its repository alone.

    Raises:
        ConfigurationError: The model's backend does not do that; the message names the field.
    """
    options: dict[str, Any] = dict(entry.options) if entry else {}
    backend = entry.backend if entry else BACKEND_OF[config.kind]
    compute = config.compute_type
    if backend == "vllm":
        if compute == "fp8":
            options["quantization"] = compute
        elif compute != "auto":
            options["dtype"] = compute
        if config.context_length:
            options["max_model_len"] = config.context_length
        options["max_num_seqs"] = config.batch_size
    else:
        if backend != "vllm-embedding":
            options["device"] = config.device
        if config.kind != "voice" or compute != "auto":
            options["compute_type" if backend == "faster-whisper" else "dtype"] = compute
        if config.kind == "embedding" and config.context_length:
            options["max_tokens"] = config.context_length
        if backend == "diffusers-image":
            options["batch_size"] = config.batch_size
    sizes = {"width": config.width, "height": config.height, "num_frames": config.num_frames}
    defaults = {**(entry.defaults if entry else {}), **config.defaults}
    defaults |= {name: value for name, value in sizes.items() if value is not None}
    data: dict[str, Any] = {"kind": config.kind, "backend": backend, "options": options, "defaults": defaults}
    try:
        data["sources"] = entry.sources if entry else (config.model,)
        made = ModelEntry.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError("; ".join(one["msg"] for one in error.errors())) from None
    if problems := option_problems(made):
        raise ConfigurationError("; ".join(_FIELDS.get(name, name) + rest for name, rest in map(_split, problems)))
    return made


def _split(problem: str) -> tuple[str, str]:
    name, colon, rest = problem.partition(":")
    return name, colon + rest


_FIELDS = {
    "dtype": "compute_type",
    "quantization": "compute_type",
    "max_model_len": "context_length",
    "max_tokens": "context_length",
    "max_num_seqs": "batch_size",
}
"""Options of backends by the field of a configuration that sets them."""


def option_problems(entry: ModelEntry) -> list[str]:
    """What is wrong with an entry's `options`, by the `Options` of its backend: "dtype: ..."."""
    try:
        implementation(entry.backend).Options.model_validate(entry.options)
    except ValidationError as error:
        return [
            f"{'.'.join(str(part) for part in one['loc'])}: "
            f"{'this backend has no such option' if one['type'] == 'extra_forbidden' else one['msg']}"
            for one in error.errors(include_url=False, include_input=False)
        ]
    return []
