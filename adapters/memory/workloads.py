"""How each backend runs a model: its options as the keyword arguments of `adapters.memory.estimate.estimate`.

`Backend.memory` in `adapters/registry.py` names one of these functions. They follow the defaults of the backends. Their
arguments are a catalog entry, where it runs, and the bytes of the GPU (None: those of this machine's GPUs count).
"""

from collections.abc import Mapping
from typing import Any, Literal

from adapters import hardware, registry
from adapters.catalog.catalog import ModelEntry

DeviceKind = Literal["cuda", "cpu"]

LARGE_GPU_BYTES, LARGE_GPU_STEP_TOKENS = 70 * 2**30, 8192
"""GPUs on which vLLM's server computes more tokens in a step (`EngineArgs.get_batch_defaults`)."""
VIDEO_TILE_FRAMES = 64
"""Default of `DiffusersVideo.Options.tile_frames`."""
VLLM_EMBEDDING_PROCESS_BYTES = 1_400_000_000
"""What the child process of an embedding model on vLLM and its engine process take on a CPU before the model."""


def vllm(entry: ModelEntry, device: DeviceKind, card_bytes: int | None = None) -> dict[str, Any]:
    """A language model on vLLM."""
    dtype = entry.options.get("dtype", "auto")
    return {
        "dtype": None if dtype == "auto" else dtype,
        "sequences": entry.options.get("max_num_seqs") or (32 if device == "cpu" else 256),
        **_vllm_engine(entry.options, device, card_bytes),
    }


def vllm_embedding(entry: ModelEntry, device: DeviceKind, card_bytes: int | None = None) -> dict[str, Any]:
    """An embedding model on vLLM."""
    return {
        "dtype": _embedding_dtype(entry.options, device),
        "process_bytes": VLLM_EMBEDDING_PROCESS_BYTES if device == "cpu" else None,
        **_vllm_engine(entry.options, device, card_bytes),
    }


def transformers_embedding(entry: ModelEntry, device: DeviceKind, card_bytes: int | None = None) -> dict[str, Any]:
    """An embedding model on transformers."""
    tokens = entry.options.get("max_batch_tokens") or (2048 if device == "cpu" else 32_768)
    return {"dtype": _embedding_dtype(entry.options, device), "step_tokens": tokens}


def ctranslate2_whisper(entry: ModelEntry, device: DeviceKind, card_bytes: int | None = None) -> dict[str, Any]:
    """A Whisper model on CTranslate2: a compute type names the type of the weights, then that of the arithmetic."""
    compute = str(entry.options.get("compute_type", "auto"))
    if compute in ("auto", "default"):
        compute = "float16" if device == "cuda" else "int8_float32"
    weights, _, arithmetic = compute.partition("_")
    arithmetic = arithmetic or {"int8": "float32", "int16": "float32"}.get(weights, weights)
    return {"dtype": arithmetic, "quantization": {"int16": "float16"}.get(weights, weights), "sequences": 5}


def diffusers_image(entry: ModelEntry, device: DeviceKind, card_bytes: int | None = None) -> dict[str, Any]:
    """An image pipeline of diffusers."""
    return {**_diffusers(entry, device), "batch": entry.options.get("batch_size") or 4}


def diffusers_video(entry: ModelEntry, device: DeviceKind, card_bytes: int | None = None) -> dict[str, Any]:
    """A video pipeline of diffusers."""
    tile_frames = entry.options.get("tile_frames", VIDEO_TILE_FRAMES)
    return {**_diffusers(entry, device), "frames": entry.defaults.get("num_frames"), "tile_frames": tile_frames}


def _diffusers(entry: ModelEntry, device: DeviceKind) -> dict[str, Any]:
    dtype = entry.options.get("dtype", "auto")
    if dtype == "auto":
        dtype = registry.BACKENDS[entry.backend].half_precision if device == "cuda" else "float32"
    return {"dtype": dtype, "width": entry.defaults.get("width"), "height": entry.defaults.get("height")}


def _embedding_dtype(options: Mapping[str, Any], device: DeviceKind) -> str:
    dtype = options.get("dtype", "auto")
    return dtype if dtype != "auto" else "float32" if device == "cpu" else "float16"


def _vllm_engine(options: Mapping[str, Any], device: DeviceKind, card_bytes: int | None) -> dict[str, Any]:
    return {
        "quantization": options.get("quantization"),
        "kv_cache_bytes": round((options.get("kv_cache_gib") or options.get("min_kv_cache_gib", 1.0)) * 2**30),
        "step_tokens": options.get("max_num_batched_tokens") or _step_tokens(device, card_bytes),
        "gpus": options.get("tensor_parallel_size", 1),
    }


def _step_tokens(device: DeviceKind, card_bytes: int | None) -> int | None:
    """Tokens in one step of vLLM's server on the GPU; None: the usual number."""
    if device != "cuda":
        return None
    sizes = [gpu.total_bytes for gpu in hardware.gpus()] if card_bytes is None else [card_bytes]
    return LARGE_GPU_STEP_TOKENS if any(size >= LARGE_GPU_BYTES for size in sizes) else None
