"""Estimates a model's memory from its config files: before a download, and without a GPU.

    total = weights + KV cache + activations + overhead

*Weights*: if the files are downloaded, the sizes in their headers (`adapters/memory/weight_files.py`); before that,
parameters, counted exactly (`adapters/memory/parameters.py`), times the bits of their format, or for other
architectures the size of the files that the hub tells. *KV cache* (arXiv 2309.06180) and
*activations*: the largest set of tensors alive at once (`adapters/memory/activations.py`). *Overhead*: the memory of a
process before its model, and the reserve of torch's caching allocator. docs/memory.md says how the estimates were
checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters import hardware, registry
from adapters.base import Kind
from adapters.catalog.catalog import ModelEntry
from adapters.catalog.sources import LocalSource
from adapters.memory import activations, placement, weight_files
from adapters.memory.configs import Configs, known_configs, read_configs
from adapters.memory.parameters import FORMATS, Config, UnknownArchitecture, WeightFormat, class_of, count
from adapters.memory.workloads import DeviceKind


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes at the peak of the described workload, on all GPUs that share the model together."""

    weights_bytes: int
    kv_cache_bytes: int
    activations_bytes: int
    overhead_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.kv_cache_bytes + self.activations_bytes + self.overhead_bytes


PROCESS_BYTES: Mapping[DeviceKind, Mapping[Kind, int]] = {
    # A CUDA context with the kernels of torch, cuBLAS and cuDNN. Assumed, not measured.
    "cuda": dict.fromkeys(("text", "vision", "embedding", "speech", "voice", "image", "video"), 500_000_000),
    # Resident bytes of the processes without weights and caches, measured with the starter models (docs/memory.md).
    "cpu": {
        "text": 1_300_000_000,
        "vision": 1_300_000_000,
        "embedding": 510_000_000,
        "speech": 70_000_000,
        "voice": 200_000_000,
        "image": 580_000_000,
        "video": 580_000_000,
    },
}
"""Memory of a model's processes before the model."""

ROUGH_SHARE = 0.2
"""Activations of an architecture whose tensors are not known, relative to its weights. Assumed."""

CACHING = 0.8
"""Reserve of torch's caching allocator on a GPU, relative to the peak of live tensors.

The allocations of diffusers' UNet, transformer and autoencoders, replayed through the allocator's rules (blocks are
split and joined only inside segments of one cudaMalloc each; c10/cuda/CUDACachingAllocator.cpp), reserve 1.7 to 1.9
times the peak of live tensors on a GPU with enough memory. With less memory, the allocator frees unused segments.
"""


def estimate(
    kind: Kind,
    configs: Configs,
    *,
    dtype: str | None = None,
    quantization: str | None = None,
    context: int | None = None,
    sequences: int = 1,
    kv_cache_bytes: int | None = None,
    width: int | None = None,
    height: int | None = None,
    frames: int | None = None,
    batch: int = 1,
    device: DeviceKind = "cuda",
    weights_bytes: int | None = None,
    step_tokens: int | None = None,
    gpus: int = 1,
    process_bytes: int | None = None,
    tile_frames: int | None = None,
) -> MemoryEstimate:
    """The memory of a model under a workload.

    Args:
        kind: Of the model.
        configs: Its config files. All models among them are counted, each once; the configs of two pipelines may be
            given together.
        dtype: Of weights and activations: "float16", "bfloat16", "float32". None: as published, or 16 bit.
        quantization: A row of `FORMATS` for the weights instead; None: what the config itself names.
        context: Tokens of one sequence, prompt and answer; None: the model's whole context. For speech, of the answer.
        sequences: Sequences at once; for speech, beams.
        kv_cache_bytes: The cache's size on each GPU, where the engine takes a fixed one.
        width: Pixels; None: the native width. For images and videos.
        height: Pixels; None: the native height.
        frames: Of a video; None: 121.
        batch: Images, videos or audio files at once.
        device: Where it runs.
        weights_bytes: Size of the weights, if it was read from the files.
        step_tokens: Tokens in one step of the engine, for text and embeddings; None: vLLM's default.
        process_bytes: Memory of a process before the model; None: `PROCESS_BYTES`.
        tile_frames: Frames of the tiles in which a video is decoded; None: all at once.
        gpus: GPUs that share the model: its weights are split, and each has a process.

    Raises:
        UnknownArchitecture: The configs are not of a known model.
        ValueError: There is no such dtype or quantisation.
    """
    models = {path: config for path, config in configs.items() if path.endswith("config.json") and class_of(config)}
    if not models and weights_bytes is None:
        raise UnknownArchitecture("no config file names a model's class")
    main: Config = models.get("config.json") or next(iter(models.values()), dict[str, Any]())
    dtype = dtype or _published(main)
    if dtype not in ("float32", "float16", "bfloat16"):
        raise ValueError(f"there is no dtype {dtype!r}")
    size = 4 if dtype == "float32" else 2
    weights = (
        weights_bytes
        if weights_bytes is not None
        else model_weights_bytes(models, _format(main, dtype, quantization), dtype)
    )
    shape = (batch, frames or 121, *_pixels(kind, width, height))
    try:
        cache = 0
        if kind in ("text", "vision"):
            full = kv_cache_bytes is None
            cache = activations.kv_cache(main, context, sequences) if full else gpus * (kv_cache_bytes or 0)
            live = activations.text_activations(main, size, sequences, step_tokens or activations.STEP_TOKENS)
        elif kind == "embedding":
            cache = gpus * (kv_cache_bytes or 0) if "num_key_value_heads" in main else 0  # encoders have none
            live = activations.embedding_activations(main, size, step_tokens or activations.STEP_TOKENS)
        elif kind == "speech":
            cache = batch * activations.whisper_cache(main, size, beams=sequences, tokens=context)
            live = batch * activations.whisper_activations(main, size)
        else:
            found = [
                activations.network_activations(
                    config, size, *shape, tile_frames=tile_frames, upcast=is_upcast(config, dtype)
                )
                for config in models.values()
            ]
            live = max(found, default=0) or batch * round(ROUGH_SHARE * weights)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration, ZeroDivisionError, IndexError):
        if weights_bytes is None:
            raise UnknownArchitecture("a config file has a missing or wrong value") from None
        cache = gpus * (kv_cache_bytes or 0)
        live = batch * round(ROUGH_SHARE * weights)
    caching = round(CACHING * live) if device == "cuda" and kind in ("image", "video") else 0
    process_bytes = PROCESS_BYTES[device][kind] if process_bytes is None else process_bytes
    return MemoryEstimate(weights, cache, gpus * live, gpus * (process_bytes + caching))


def model_weights_bytes(models: Configs, format: WeightFormat, dtype: str) -> int:
    """Bytes of all models' weights; models with the same config share them."""
    distinct = {repr(sorted(config.items())): config for config in models.values()}
    return sum(4 * count(c).total if is_upcast(c, dtype) else format.bytes_of(count(c)) for c in distinct.values())


def is_upcast(config: Config, dtype: str | None) -> bool:
    """Whether diffusers decodes with this autoencoder in 32 bit, and so holds its weights in 32 bit.

    SDXL's pipelines do so if their dtype is float16, in which the published autoencoder overflows; one whose config has
    `force_upcast: false` decodes in float16.
    """
    return class_of(config) == "AutoencoderKL" and bool(config.get("force_upcast")) and dtype == "float16"


def _pixels(kind: Kind, width: int | None, height: int | None) -> tuple[int, int]:
    native = (1024, 1024) if kind == "image" else (768, 512)
    return width or native[0], height or native[1]


def _published(config: Config) -> str:
    named = str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")
    return named if named in ("float32", "float16", "bfloat16") else "float16"


def _format(config: Config, dtype: str, quantization: str | None) -> WeightFormat:
    own: Mapping[str, Any] = config.get("quantization_config") or {}
    name = quantization or own.get("quant_method") or dtype
    if name not in FORMATS:
        raise ValueError(f"there is no quantisation {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name]


def estimate_directory(path: Path, entry: ModelEntry, *, device: DeviceKind | None = None) -> MemoryEstimate:
    """The memory of a downloaded model, run as its entry says; the size of its weights is read from the files.

    Args:
        path: The checkpoint's directory.
        entry: Its kind, backend, options and defaults.
        device: Where it runs; None: as its options say, or on a GPU if there is one.

    Raises:
        UnknownArchitecture: It cannot be estimated, because its class is unknown or its files are damaged.
    """
    try:
        configs = read_configs(path)
        device = device or device_of(entry)
        described = describe_workload(entry, device)
        # CTranslate2 and the quantisations that vLLM applies while it loads convert the weights of the files.
        converted = registry.BACKENDS[entry.backend].layout == "ctranslate2" or entry.options.get("quantization")
        if not converted:
            described["weights_bytes"] = _file_weights_bytes(path, configs, described.get("dtype")) or None
        return estimate(entry.kind, configs, device=device, **described)
    except (OSError, ValueError, weight_files.BadWeights) as error:
        raise UnknownArchitecture(f"the model's files cannot be read: {error}") from error


def _file_weights_bytes(path: Path, configs: Configs, dtype: str | None) -> int:
    """Bytes of the weights in a model's directory and those of its components; upcast as in `model_weights_bytes`."""
    total = weight_files.directory_bytes(path, dtype)
    for name, config in configs.items():
        if "/" in name:
            stored = "float32" if is_upcast(config, dtype) else dtype
            total += weight_files.directory_bytes(path / Path(name).parent, stored)
    return total


def estimate_entry(
    entry: ModelEntry,
    path: Path | None = None,
    *,
    device: DeviceKind | None = None,
    configs: Configs | None = None,
    card_bytes: int | None = None,
) -> int:
    """Bytes that a model will use: declared by its entry, or estimated; 0: nothing is known of it.

    Args:
        entry: The catalog's.
        path: The directory of its files; None: not downloaded yet.
        device: See `estimate_directory`.
        configs: Its config files, if they are known; None: those that this package includes.
        card_bytes: Of the GPU; None: this machine's.
    """
    if entry.memory_bytes is not None:
        return entry.memory_bytes
    device = device or device_of(entry)
    try:
        if path is not None and path.is_dir() and entry.sources:
            return estimate_directory(path, entry, device=device).total_bytes
    except UnknownArchitecture:
        pass
    configs = configs if configs is not None else known_configs(entry)
    for size in (None, entry.weights_bytes):
        if configs is None and size is None:
            continue
        try:
            described = describe_workload(entry, device, card_bytes)
            return estimate(entry.kind, configs or {}, device=device, weights_bytes=size, **described).total_bytes
        except (UnknownArchitecture, ValueError, KeyError, TypeError, AttributeError):
            continue
    return 0


def local_path(entry: ModelEntry) -> Path | None:
    """The operator's directory of a model, where its entry names one."""
    return next((source.path for source in entry.sources if isinstance(source, LocalSource)), None)


def cache_limit(entry: ModelEntry, path: Path) -> int:
    """Bytes by which a language model's cache may grow: to its whole context for all answers at once. 0: unknown.

    Args:
        entry: Its catalog entry, of a model on a GPU.
        path: The directory of its files.
    """
    if entry.options.get("kv_cache_gib") is not None:
        return 0
    described = describe_workload(entry, "cuda")
    try:
        main = read_configs(path)["config.json"]
        full = activations.kv_cache(main, entry.options.get("max_model_len"), described["sequences"])
    except (OSError, ValueError, KeyError, TypeError, weight_files.BadWeights):
        return 0
    return max(0, full // described["gpus"] - described["kv_cache_bytes"])


def device_of(entry: ModelEntry) -> DeviceKind:
    """Where a model runs by its options; "auto", or no such option: on a GPU if there is one."""
    if placement.runs_on_cpu(entry):
        return "cpu"
    if entry.options.get("device") == "cuda":
        return "cuda"
    return "cuda" if any(device.kind == "cuda" for device in hardware.find().devices) else "cpu"


def describe_workload(entry: ModelEntry, device: DeviceKind, card_bytes: int | None = None) -> dict[str, Any]:
    """Keyword arguments of `estimate` for how the entry's backend runs the model. Arguments as `estimate_entry`.

    Raises:
        UnknownArchitecture: The memory of this backend's models cannot be estimated.
    """
    describe = registry.workload(entry.backend)
    if describe is None:
        raise UnknownArchitecture(f"backend {entry.backend!r} does not say how its models use memory")
    return describe(entry, device, card_bytes)
