"""How a vLLM engine is configured: options of the operator, engine arguments, environment variables."""

import logging
import os
from typing import Any

from pydantic import Field, field_validator

from adapters.base import Adapter, ModelFiles
from adapters.process import parent_death

UNSERVED = {
    "bitsandbytes": "it needs the library bitsandbytes, which is not installed with vLLM; use an AWQ, GPTQ or FP8 "
    "checkpoint",
    "gguf": "a GGUF file is converted when it is fetched; name it as the source, hf://org/name/file.gguf, without this "
    "option",
}
"""Quantizations of vLLM that are not served, and why."""


class EngineOptions(Adapter.Options):
    """What the operator may set for every model on vLLM. Code from a model's repository never runs."""

    kv_cache_gib: float | None = Field(None, gt=0)
    """Memory for the attention cache of all running requests, allocated in full when the model loads. None:
    `min_kv_cache_gib`, and on a GPU also what the memory budget leaves beside all models of the profile. Embedding
    models without such a cache, like BERT, do not use it."""
    min_kv_cache_gib: float = Field(1.0, gt=0)
    """The least memory for the cache, where `kv_cache_gib` is not set."""
    quantization: str | None = None
    """One of vLLM's methods, where the checkpoint does not name its own."""
    max_num_batched_tokens: int | None = Field(None, ge=16)
    """Tokens in one step of the engine; None: vLLM's choice."""
    tensor_parallel_size: int = Field(1, ge=1)
    """GPUs that share the model."""
    enforce_eager: bool | None = None
    """Without compilation: starts sooner, runs slower. None: true on a CPU, false on a GPU."""
    threads: int | None = Field(None, ge=1)
    """Of the engine, on a CPU; None: OMP_NUM_THREADS, or one per core that this process may use."""

    @field_validator("quantization")
    @classmethod
    def _served(cls, quantization: str | None) -> str | None:
        if quantization in UNSERVED:
            raise ValueError(f"{quantization} is not served: {UNSERVED[quantization]}")
        return quantization


def common_arguments(model: ModelFiles, options: EngineOptions, *, cpu: bool) -> dict[str, Any]:
    """Arguments of vLLM's `AsyncEngineArgs` for every kind of model.

    Args:
        model: The checkpoint, and the cache that the pool has room for.
        options: What the operator has set.
        cpu: Whether the engine runs on a CPU.
    """
    gib = options.kv_cache_gib or max(options.min_kv_cache_gib, (model.cache_bytes or 0) / 2**30)
    arguments: dict[str, Any] = {
        "model": model.path,
        "load_format": "safetensors",  # Never pickles, whatever the directory holds.
        "trust_remote_code": False,
        "quantization": options.quantization,
        "kv_cache_memory_bytes": int(gib * 2**30),
        "max_num_batched_tokens": options.max_num_batched_tokens,
        "enforce_eager": cpu if options.enforce_eager is None else options.enforce_eager,
        "tensor_parallel_size": options.tensor_parallel_size,
        # On a CPU vLLM would put a single worker in a third process: half a gigabyte and ten seconds for nothing.
        "distributed_executor_backend": "uni" if cpu and options.tensor_parallel_size == 1 else None,
        "disable_log_stats": True,
        "enable_log_requests": False,
        "use_tqdm_on_load": False,
    }
    if not cpu:
        # INTERNAL vllm==0.32: `request_memory` requires that this share of the GPU is free (0.92 by default) even where
        # `kv_cache_memory_bytes` has set the cache: no engine would start beside another model, or beside a desktop.
        arguments["gpu_memory_utilization"] = 0.01
    return arguments


def environment() -> dict[str, str]:
    """Variables for every engine and for importing vLLM."""
    # vLLM's warnings are about choices that are made here on purpose, so they are for debugging only.
    debugging = logging.getLogger("adapters").isEnabledFor(logging.DEBUG)
    return {
        "VLLM_LOGGING_LEVEL": "INFO" if debugging else "ERROR",
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "default" if debugging else "ignore"),
        "TORCH_CPP_LOG_LEVEL": "INFO" if debugging else "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        parent_death.VARIABLE: str(os.getpid()),
    }


def cpu_environment(options: EngineOptions) -> dict[str, str]:
    """Further variables for an engine on a CPU."""
    threads = options.threads or os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))
    variables = {
        "OMP_NUM_THREADS": str(threads),
        # Threads that spin while they wait for each other slow down everything on a busy machine, themselves first: on
        # 2 cores with two other busy processes, 1 to 3 tokens/s instead of 9 to 16; alone it makes no difference.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    if options.tensor_parallel_size == 1:
        # INTERNAL vllm==0.32: otherwise it overrules "uni"; AsyncLLM itself does not read this variable.
        variables["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    if options.enforce_eager is not False:
        # Small helpers of the sampler would still be compiled: 15 s in the first request, and a C++ compiler.
        variables["TORCH_COMPILE_DISABLE"] = "1"
    return variables
