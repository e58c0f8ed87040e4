"""One vLLM engine, for text and for embeddings: how it is configured, started and stopped. No requests here."""

import asyncio
import importlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from adapters import hardware
from adapters.base import Adapter, ModelFiles
from adapters.engines import python_allocator
from adapters.errors import ModelLoadFailed, OutOfMemory
from adapters.process import parent_death
from adapters.process.memory_usage import used_bytes

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

log = logging.getLogger(__name__)

Arguments = Callable[[bool], dict[str, Any]]
"""Makes arguments of vLLM's `AsyncEngineArgs`; called with whether the engine runs on a CPU."""

_starting = threading.Lock()
"""One engine starts at a time: vLLM reads and writes the environment, and measures free memory."""


class EngineOptions(Adapter.Options):
    """What the operator may set for every model on vLLM. Code from a model's repository never runs."""

    kv_cache_gib: float = Field(1.0, gt=0)
    """Memory for the attention cache of all running requests, allocated in full when the model loads. Embedding models
    without such a cache, like BERT, do not use it."""
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


def preload() -> None:
    """Imports vLLM, which takes seconds the first time.

    Apart from `Engine.start`, because vLLM keeps an exception of its imports, and with it every frame of that call.
    """
    with _starting, _environment(environment := _for_all()):
        logging.getLogger("vllm").setLevel(environment["VLLM_LOGGING_LEVEL"])  # It logs before it reads the variable.
        importlib.import_module("vllm.v1.engine.async_llm")


@dataclass(frozen=True)
class Engine:
    """A running engine."""

    llm: "AsyncLLM"
    thread: ThreadPoolExecutor
    """The thread that started the engine. Its processes end when it ends (`PR_SET_PDEATHSIG`), so it must stay."""

    @classmethod
    async def start(cls, model: ModelFiles, options: EngineOptions, arguments: Arguments) -> Self:
        """A running engine, after many seconds. If this is cancelled, the engine is stopped as soon as it has started.

        Args:
            model: The checkpoint, and the GPUs that it may use.
            options: What the operator has set.
            arguments: Makes the arguments that this kind of model needs beside the common ones.

        Raises:
            ModelLoadFailed: The files or the options are refused, or the engine did not start.
            OutOfMemory: The kernel killed the engine while it loaded.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"vllm-{model.name}")
        starting = asyncio.get_running_loop().run_in_executor(thread, _start, model, options, arguments)
        try:
            return cls(await asyncio.shield(starting), thread)
        except BaseException:
            starting.add_done_callback(partial(_abandon, thread))
            raise

    async def stop(self) -> None:
        """Stops the engine and its processes, after some seconds. Requests in progress end in `EngineDeadError`."""
        from vllm.v1.engine.exceptions import EngineDeadError

        self.llm.output_processor.propagate_error(EngineDeadError())  # INTERNAL vllm==0.32: it ends all requests
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.thread, _stop, self.llm)
        await loop.run_in_executor(self.thread, _close, self.llm)  # after the loop has closed what uses the connection
        self.thread.shutdown(wait=False)

    @property
    def alive(self) -> bool:
        """False once one of the engine's processes has ended."""
        return not self.llm.errored

    def memory_bytes(self) -> int | None:
        """Bytes that the engine's processes use now; None if unknown."""
        used = [used_bytes(process.pid) for process in _processes(self.llm)]
        return sum(one for one in used if one is not None) or None


def _start(model: ModelFiles, options: EngineOptions, arguments: Arguments) -> "AsyncLLM":
    if not (Path(model.path) / "config.json").is_file():
        raise ModelLoadFailed("The model's files are missing or incomplete: there is no config.json.")
    try:
        # The engine has connected once it has started, and nothing connects later: the sockets' names can be removed at
        # once. So they are not left behind when this process is killed.
        with TemporaryDirectory(prefix="muybridge-", ignore_cleanup_errors=True) as sockets:
            variables = {**_for_all(), **hardware.environment(model.devices), "VLLM_RPC_BASE_PATH": sockets}
            # transformers reads a vocabulary as hundreds of thousands of Python objects.
            with _starting, _environment(variables), python_allocator.malloc_only():
                from vllm.engine.arg_utils import AsyncEngineArgs
                from vllm.platforms import current_platform
                from vllm.v1.engine.async_llm import AsyncLLM

                from adapters.engines.vllm_sockets import replace_sockets

                cpu = current_platform.is_cpu()
                with _environment(_for_cpu(options) if cpu else {}):
                    settings = {**_common_arguments(model.path, options, cpu=cpu), **arguments(cpu)}
                    llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**settings))
                replace_sockets(llm)
                return llm
    except ModelLoadFailed:
        raise
    except Exception as error:
        log.exception("vLLM did not start")
        # INTERNAL vllm==0.32: its message holds the exit codes of its processes, and nothing else of the cause.
        if "'EngineCore': -9" in str(error):
            raise OutOfMemory(
                "The model's engine was killed while it loaded, because memory ran out. Unload other models, or choose "
                "a smaller model."
            ) from error
        raise ModelLoadFailed("The model's engine did not start. The server's log has the cause.") from error


def _processes(llm: "AsyncLLM") -> list[Any]:
    """The engine's processes, as objects of multiprocessing."""
    # INTERNAL vllm==0.32: where it keeps them.
    return list(getattr(llm.engine_core.resources.engine_manager, "processes", ()))


def _stop(llm: "AsyncLLM") -> None:
    """Stops the engine and its processes, and reaps them."""
    processes = _processes(llm)
    try:
        llm.shutdown(timeout=10)
    finally:
        for process in processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()


def _close(llm: "AsyncLLM") -> None:
    """Frees the connection's descriptors and threads, and the caches, which vLLM forgets."""
    llm.engine_core.resources.ctx.destroy(linger=0)  # INTERNAL vllm==0.32: its ZeroMQ context
    _clear_caches()


def _abandon(thread: ThreadPoolExecutor, starting: "asyncio.Future[AsyncLLM]") -> None:
    """Stops an engine of which the load was cancelled."""
    if not starting.cancelled() and starting.exception() is None:
        thread.submit(_stop, starting.result())
    thread.shutdown(wait=False)


def _clear_caches() -> None:
    """Empties the caches that keep tokenizers and processors of stopped engines alive: 130 MB for a load of Qwen.

    Engines that still run fill them again with the next request. Only caches keyed by such objects: others hold what
    vLLM found out about this machine and its own models, and emptying those breaks engines that run.
    """
    # INTERNAL vllm==0.32, transformers==5: the modules that hold these caches.
    vllm = ("renderers", "tokenizers", "utils.func_utils", "multimodal.processing", "transformers_utils.processor")
    holders = (*(f"vllm.{name}" for name in vllm), "transformers.image_processing_backends")
    for name, module in list(sys.modules.items()):
        if name.startswith(holders):
            items = list(vars(module).values())
            methods = [one for item in items if isinstance(item, type) for one in list(vars(item).values())]
            for item in (*items, *methods):
                if callable(clear := getattr(item, "cache_clear", None)):
                    clear()


def _common_arguments(path: str, options: EngineOptions, *, cpu: bool) -> dict[str, Any]:
    return {
        "model": path,
        "load_format": "safetensors",  # Never pickles, whatever the directory holds.
        "trust_remote_code": False,
        "quantization": options.quantization,
        "kv_cache_memory_bytes": int(options.kv_cache_gib * 2**30),
        "max_num_batched_tokens": options.max_num_batched_tokens,
        "enforce_eager": cpu if options.enforce_eager is None else options.enforce_eager,
        "tensor_parallel_size": options.tensor_parallel_size,
        # On a CPU vLLM would put a single worker in a third process: half a gigabyte and ten seconds for nothing.
        "distributed_executor_backend": "uni" if cpu and options.tensor_parallel_size == 1 else None,
        "disable_log_stats": True,
        "enable_log_requests": False,
        "use_tqdm_on_load": False,
    }


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


def _for_cpu(options: EngineOptions) -> dict[str, str]:
    threads = options.threads or os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))
    environment = {
        "OMP_NUM_THREADS": str(threads),
        # Threads that spin while they wait for each other slow down everything on a busy machine, themselves first: on
        # 2 cores with two other busy processes, 1 to 3 tokens/s instead of 9 to 16; alone it makes no difference.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    if options.tensor_parallel_size == 1:
        # INTERNAL vllm==0.32: otherwise it overrules "uni"; AsyncLLM itself does not read this variable.
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    if options.enforce_eager is not False:
        # Small helpers of the sampler would still be compiled: 15 s in the first request, and a C++ compiler.
        environment["TORCH_COMPILE_DISABLE"] = "1"
    return environment


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets `variables`; restores the environment at the end, whatever vLLM changed (LD_PRELOAD and a dozen more).

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
