"""Backends by name: the class that runs a model, and every fact about a backend that other modules need.

No other module compares backend names. Classes and functions are named as "module:name" strings and are imported on
first use, so no engine library is loaded before a model needs it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from adapters.base import Adapter, Kind

Layout = Literal["flat", "sentence-transformers", "diffusers", "ctranslate2"]
"""Which files of a hub repository belong to a checkpoint, and where they are.

"flat": all in the top-level directory.
"sentence-transformers": the same, and the pooling configuration in `N_Pooling/config.json`.
"diffusers": one directory per component of the pipeline, and `model_index.json` beside them.
"ctranslate2": in the top-level directory; weights are `model.bin`, converted to the compute type when they are loaded.
"""

Field = Literal["device", "compute_type", "batch_size", "context_length", "width", "height", "num_frames"]
"""A field of `adapters.catalog.model_config.ModelConfig`."""

HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
"""What is downloaded from a hub repository; `*.model` are SentencePiece vocabularies. Never pickles, never code."""
CTRANSLATE2_FILES = ("model.bin", "config.json", "preprocessor_config.json", "tokenizer.json", "vocabulary.*")
"""The same for CTranslate2, whose `model.bin` is plain numbers (see `adapters/loader/verification.py`)."""


@dataclass(frozen=True, slots=True)
class Detected:
    """What a repository's config files tell of a model."""

    kind: Kind
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Options of the backend that suit the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One row: a way to run models of some kinds."""

    kinds: tuple[Kind, ...]
    """Kinds of models that it runs."""
    target: str
    """"module:Class" of the `Adapter`."""
    process: Literal["server", "child"] = "child"
    """"child": in its own process, by `adapters/process/client.py`. "server": in this one (vLLM starts its own)."""
    libraries: tuple[str, ...] = ()
    """Modules that must be installed, which the base installation lacks."""
    extra: str = ""
    """The extra of pyproject.toml that brings them; none: `muybridge install` does."""
    files: tuple[str, ...] = HUB_FILES
    """Patterns of the file names to download from a hub repository."""
    layout: Layout = "flat"
    """Where these files are in the repository."""
    detect: str = ""
    """"module:function" that takes a repository's config files by name ("config.json", "unet/config.json"; each a
    mapping) and returns `Detected`. It raises `ModelLoadFailed` with the reason for what the backend cannot run. Empty:
    its models are those of the catalog only."""
    memory: str = ""
    """"module:function" that describes the workload for `adapters.memory.estimate.estimate`, from a catalog entry, the
    device ("cuda" or "cpu") and the GPU's bytes: its keyword arguments. Empty: memory is known only where the entry
    declares it."""
    config: Mapping[str, str] = field(default_factory=dict[str, str])
    """How a `ModelConfig` becomes options: each supported field, or "field:value" for one value of it, to the option
    that takes its value."""
    sizes: tuple[Field, ...] = ()
    """Fields of a `ModelConfig` that become defaults of requests: the output sizes of this kind of model."""
    cpu_only: bool = False
    """Whether its models never use a GPU."""
    cache_grows: bool = False
    """Whether its models take what the memory budget leaves for a larger cache (`ModelFiles.cache_bytes`)."""
    half_precision: Literal["float16", "bfloat16"] = "float16"
    """The 16-bit type that its models are computed in on a GPU."""
    components: tuple[Literal["refiner", "loras"], ...] = ()
    """What an entry may name beside the model (`ModelFiles.components`)."""

    def supports(self, name: Field) -> bool:
        """Whether a `ModelConfig` may set this field for its models."""
        return name in self.config or name in self.sizes


_DIFFUSERS = {"device": "device", "compute_type": "dtype"}

_DIFFUSERS_LIBRARIES = ("torch", "diffusers", "transformers", "accelerate")

BACKENDS: dict[str, Backend] = {
    "vllm": Backend(
        kinds=("text", "vision"),
        target="adapters.text.vllm_text:VllmText",
        libraries=("vllm",),
        process="server",
        detect="adapters.engines.vllm_architectures:detect",
        memory="adapters.memory.workloads:vllm",
        cache_grows=True,
        config={
            "compute_type": "dtype",
            "compute_type:fp8": "quantization",
            "context_length": "max_model_len",
            "batch_size": "max_num_seqs",
        },
    ),
    "faster-whisper": Backend(
        kinds=("speech",),
        target="adapters.speech.whisper:WhisperSpeech",
        libraries=("faster_whisper",),
        extra="speech",
        files=CTRANSLATE2_FILES,
        layout="ctranslate2",
        detect="adapters.speech.detection:detect",
        memory="adapters.memory.workloads:ctranslate2_whisper",
        config={"device": "device", "compute_type": "compute_type"},
    ),
    "transformers-embedding": Backend(
        kinds=("embedding",),
        target="adapters.embedding.transformers_embedding:TransformersEmbedding",
        libraries=("torch", "transformers"),
        extra="embedding",
        layout="sentence-transformers",
        detect="adapters.embedding.recipe:detect",
        memory="adapters.memory.workloads:transformers_embedding",
        config={"device": "device", "compute_type": "dtype", "context_length": "max_tokens"},
    ),
    "vllm-embedding": Backend(
        kinds=("embedding",),
        target="adapters.embedding.vllm_embedding:VllmEmbedding",
        libraries=("vllm",),
        layout="sentence-transformers",
        memory="adapters.memory.workloads:vllm_embedding",
        config={"compute_type": "dtype", "context_length": "max_tokens"},
    ),
    "kokoro": Backend(
        kinds=("voice",),
        target="adapters.voice.kokoro:KokoroVoice",
        libraries=("onnxruntime", "safetensors"),
        extra="voice",
        cpu_only=True,
        config={"device": "device"},
    ),
    "diffusers-image": Backend(
        kinds=("image",),
        target="adapters.image.diffusers_image:DiffusersImage",
        libraries=_DIFFUSERS_LIBRARIES,
        extra="image",
        layout="diffusers",
        detect="adapters.image.detection:detect",
        memory="adapters.memory.workloads:diffusers_image",
        config={**_DIFFUSERS, "batch_size": "batch_size"},
        sizes=("width", "height"),
        components=("refiner", "loras"),
    ),
    "diffusers-video": Backend(
        kinds=("video",),
        target="adapters.video.diffusers_video:DiffusersVideo",
        libraries=_DIFFUSERS_LIBRARIES,
        extra="video",
        layout="diffusers",
        detect="adapters.video.inputs:detect",
        memory="adapters.memory.workloads:diffusers_video",
        config=_DIFFUSERS,
        sizes=("width", "height", "num_frames"),
        half_precision="bfloat16",
    ),
    "fake-text": Backend(kinds=("text", "vision"), target="adapters.fake.models:FakeText", process="server"),
    "fake-embedding": Backend(kinds=("embedding",), target="adapters.fake.models:FakeEmbedding", process="server"),
    "fake-speech": Backend(kinds=("speech",), target="adapters.fake.models:FakeSpeech", process="server"),
    "fake-voice": Backend(kinds=("voice",), target="adapters.fake.models:FakeVoice", process="server"),
    "fake-image": Backend(kinds=("image",), target="adapters.fake.models:FakeImage", process="server"),
    "fake-video": Backend(kinds=("video",), target="adapters.fake.models:FakeVideo", process="server"),
}
"""All backends by name. The first that runs a kind is used for models that are not in the catalog."""


def default_backend(kind: Kind) -> str:
    """The name of the backend for models of a kind that are not in the catalog."""
    return next(name for name, row in BACKENDS.items() if kind in row.kinds)


def missing(backend: str) -> str:
    """What must be installed before a backend can load a model, as a sentence; "" where all is there.

    Raises:
        KeyError: No such backend.
    """
    row = BACKENDS[backend]
    return not_installed(row.libraries, row.extra)


def not_installed(libraries: Sequence[str], extra: str = "") -> str:
    """Which of these modules are not installed, and what installs them, as a sentence; "" where all are."""
    absent = [library for library in libraries if find_spec(library) is None]
    if not absent:
        return ""
    one = f", pip install 'muybridge[{extra}]' this one" if extra else ""
    return f"{', '.join(absent)} must be installed: `muybridge install` installs all backends{one}."


def implementation(backend: str) -> type[Adapter]:
    """The class behind a backend's name; imports its module.

    Raises:
        KeyError: No such backend.
    """
    return load_target(BACKENDS[backend].target)


def workload(backend: str) -> Callable[..., dict[str, Any]] | None:
    """The function that describes a backend's workload (`Backend.memory`); None: it has none."""
    target = BACKENDS[backend].memory
    return load_target(target) if target else None


def detect(backend: str) -> Callable[[Mapping[str, Any]], Detected] | None:
    """The function that recognizes a backend's models (`Backend.detect`); None: it has none."""
    target = BACKENDS[backend].detect
    return load_target(target) if target else None


def load_target(target: str) -> Any:
    """What a "module:name" string names; imports the module."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
