"""One vLLM engine: how it is configured, started and ended. No requests here."""

import importlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field

from adapters import hardware
from adapters.base import Adapter
from adapters.engines import python_allocator
from adapters.errors import ModelLoadFailed, OutOfMemory
from adapters.process import parent_death

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

log = logging.getLogger(__name__)

_starting = threading.Lock()
"""One engine starts at a time: vLLM reads and writes the environment, and measures free memory."""


class VllmOptions(Adapter.Options):
    """What the operator may set for a model on vLLM. Code from a model's repository never runs."""

    max_model_len: int | None = Field(None, ge=16)
    """Tokens of prompt and answer together; None: the model's own, or what the cache can hold if that is less."""
    kv_cache_gib: float = Field(1.0, gt=0)
    """Memory for the attention cache of all running requests. Taken in full when the model loads."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Of weights and activations; "auto": as in the checkpoint."""
    quantization: str | None = None
    """A method of vLLM's, where the checkpoint does not name its own."""
    max_num_seqs: int = Field(32, ge=1, le=1024)
    """Answers that are written at the same time; more wait."""
    max_num_batched_tokens: int | None = Field(None, ge=16)
    """Tokens in one step of the engine; None: vLLM's choice."""
    tensor_parallel_size: int = Field(1, ge=1)
    """GPUs that share the model."""
    enforce_eager: bool | None = None
    """Without compilation: starts sooner, runs slower. None: so on a CPU, compiled on a GPU."""
    sleep: bool = False
    """On a GPU: give way to other models by sleeping (weights wait in RAM) instead of unloading. Needs CUDA."""
    threads: int | None = Field(None, ge=1)
    """Of the engine, on a CPU; None: OMP_NUM_THREADS, or one per core that this process may use."""
    chat_template: str | None = None
    """A Jinja template to use for conversations instead of the checkpoint's: an absolute path, or the name of one in
    `adapters/text/templates/`."""
    tool_call_parser: str | None = None
    """By which the model's calls of tools are read: one of vLLM's ("hermes", "llama3_json", ...) or "plain_json". None:
    the model cannot call tools."""
    reasoning_parser: str | None = None
    """By which the model's thoughts are told from its answers, one of vLLM's ("qwen3", "deepseek_r1", ...). None: it
    does not think first."""
    max_images: int = Field(8, ge=1, le=64)
    """In one request, for models that see."""
    image_cache_gib: float = Field(0.25, ge=0)
    """For prepared images that come again, once in the server and once in the engine; for models that see."""


def preload() -> None:
    """Imports vLLM, which takes seconds the first time.

    Apart from `Engine.start`, because vLLM keeps an exception of its imports, and with it every frame of that call.
    """
    with _starting, _environment(environment := _for_all()):
        logging.getLogger("vllm").setLevel(environment["VLLM_LOGGING_LEVEL"])  # It speaks before it reads that itself.
        importlib.import_module("vllm.v1.engine.async_llm")


@dataclass(frozen=True)
class Engine:
    """A running engine."""

    llm: "AsyncLLM"
    sockets: TemporaryDirectory[str]
    """Where server and engine talk; nobody else may enter, and it goes with the engine."""

    @classmethod
    def start(cls, path: str, options: VllmOptions, devices: tuple[int, ...] | None = None) -> Self:
        """A running engine. Blocks for many seconds; the thread that calls this must live as long as the engine.

        Args:
            path: Of the checkpoint.
            options: As the operator set them.
            devices: The GPUs that it may use, as `ModelFiles.devices`.

        Raises:
            ModelLoadFailed: The files or the options are refused, or the engine did not start.
            OutOfMemory: The kernel killed the engine while it loaded.
        """
        if not (Path(path) / "config.json").is_file():
            raise ModelLoadFailed("The model's files are missing or incomplete: there is no config.json.")
        sockets = TemporaryDirectory(prefix="muybridge-", ignore_cleanup_errors=True)
        try:
            placed = {**_for_all(), **hardware.environment(devices), "VLLM_RPC_BASE_PATH": sockets.name}
            # transformers reads a vocabulary as hundreds of thousands of Python's objects.
            with _starting, _environment(placed), python_allocator.spared():
                from vllm.platforms import current_platform
                from vllm.v1.engine.async_llm import AsyncLLM

                from adapters.engines.vllm_sockets import quicken

                cpu = current_platform.is_cpu()
                if cpu and options.sleep:
                    raise ModelLoadFailed("The option sleep needs a GPU; on a CPU models are unloaded.")
                with _environment(_for_cpu(options) if cpu else {}):
                    llm = AsyncLLM.from_engine_args(_arguments(path, options, cpu=cpu))
                quicken(llm)
                return cls(llm, sockets)
        except ModelLoadFailed:
            sockets.cleanup()
            raise
        except Exception as error:
            sockets.cleanup()
            log.exception("vLLM did not start")
            # vLLM's message holds the exit codes of its processes, and nothing else of the cause.
            if "'EngineCore': -9" in str(error):
                raise OutOfMemory("The model's engine was killed while it loaded; memory ran out.") from error
            raise ModelLoadFailed("The model's engine did not start; the server's log says why.") from error

    @property
    def processes(self) -> list[Any]:
        """The engine's processes, as multiprocessing has them."""
        return list(getattr(self.llm.engine_core.resources.engine_manager, "processes", ()))

    def stop(self) -> None:
        """Ends the engine and its processes, and reaps them. Blocks for some seconds."""
        processes = self.processes
        try:
            self.llm.shutdown(timeout=10)
        finally:
            for process in processes:
                process.join(10)
                if process.is_alive():
                    process.kill()
                    process.join()
            self.sockets.cleanup()

    def close(self) -> None:
        """Gives back the descriptors and threads of the connection, which vLLM forgets. Call it after `stop`."""
        self.llm.engine_core.resources.ctx.destroy(linger=0)
        _clear_caches()


def _clear_caches() -> None:
    """Empties the caches that keep tokenizers and processors of past engines alive: 130 MB here a load of Qwen.

    Engines that still run fill them again with the next request. Only caches keyed by such objects: others hold what
    vLLM found out about this machine and its own models, and emptying those breaks engines that run.
    """
    vllm = ("renderers", "tokenizers", "utils.func_utils", "multimodal.processing", "transformers_utils.processor")
    holders = (*(f"vllm.{name}" for name in vllm), "transformers.image_processing_backends")
    for name, module in list(sys.modules.items()):
        if name.startswith(holders):
            items = list(vars(module).values())
            methods = [one for item in items if isinstance(item, type) for one in list(vars(item).values())]
            for item in (*items, *methods):
                if callable(clear := getattr(item, "cache_clear", None)):
                    clear()


def _arguments(path: str, options: VllmOptions, *, cpu: bool) -> "AsyncEngineArgs":
    from vllm.config import StructuredOutputsConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

    return AsyncEngineArgs(
        model=path,
        load_format="safetensors",  # Never pickles, whatever lies in the directory.
        trust_remote_code=False,
        dtype=options.dtype,
        quantization=options.quantization,
        max_model_len=options.max_model_len or -1,  # -1: as long as model and cache allow.
        kv_cache_memory_bytes=int(options.kv_cache_gib * 2**30),
        enable_prefix_caching=True,
        enable_sleep_mode=options.sleep,
        block_size=32 if cpu else None,  # vLLM's 128 on a CPU is more than most prompts have: nothing would be cached.
        max_num_seqs=options.max_num_seqs,
        max_num_batched_tokens=options.max_num_batched_tokens,
        enforce_eager=cpu if options.enforce_eager is None else options.enforce_eager,
        tensor_parallel_size=options.tensor_parallel_size,
        # On a CPU vLLM would put a single worker in a third process: half a gigabyte and ten seconds for nothing.
        distributed_executor_backend="uni" if cpu and options.tensor_parallel_size == 1 else None,
        limit_mm_per_prompt={"image": options.max_images, "video": 0, "audio": 0},
        mm_processor_cache_gb=options.image_cache_gib,
        # "guidance" refuses what it cannot enforce, before the engine sees it; "auto" would drop some of it. And small
        # models, free to write spaces between the tokens of JSON, may write nothing else until none are left.
        structured_outputs_config=StructuredOutputsConfig(
            backend="guidance", disable_any_whitespace=True, reasoning_parser=options.reasoning_parser or ""
        ),
        disable_log_stats=True,
        enable_log_requests=False,
        use_tqdm_on_load=False,
    )


def _for_all() -> dict[str, str]:
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


def _for_cpu(options: VllmOptions) -> dict[str, str]:
    threads = options.threads or os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))
    environment = {
        "OMP_NUM_THREADS": str(threads),
        # Threads that spin while they wait for each other hold up everybody on a busy machine, first of all themselves:
        # on 2 cores with two other busy processes, 1 to 3 tokens/s instead of 9 to 16; alone it makes no difference.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    if options.tensor_parallel_size == 1:
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # Else vLLM overrules "uni"; AsyncLLM does not look at it.
    if options.enforce_eager is not False:
        # Small helpers of the sampler would be compiled even so: 15 s in the first request, and a C++ compiler.
        environment["TORCH_COMPILE_DISABLE"] = "1"
    return environment


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """The environment with `variables`; at the end as it was, whatever vLLM changed (LD_PRELOAD, and a dozen more).

    Warnings follow PYTHONWARNINGS here as in the engine's process.
    """
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        with warnings.catch_warnings(action="ignore" if os.environ["PYTHONWARNINGS"] == "ignore" else None):
            yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
