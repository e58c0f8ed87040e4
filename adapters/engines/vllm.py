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

from adapters import hardware
from adapters.base import ModelFiles
from adapters.engines import python_allocator, vllm_watchdog
from adapters.engines.vllm_settings import EngineOptions, common_arguments, cpu_environment, environment
from adapters.errors import ModelLoadFailed, OutOfMemory
from adapters.process import start_failure
from adapters.process.memory_usage import used_bytes

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

log = logging.getLogger(__name__)

Arguments = Callable[[bool], dict[str, Any]]
"""Makes arguments of vLLM's `AsyncEngineArgs`; called with whether the engine runs on a CPU."""

_starting = threading.Lock()
"""One engine starts at a time: vLLM reads and writes the environment, and measures free memory."""


def preload() -> None:
    """Imports vLLM, which takes seconds the first time.

    Apart from `Engine.start`, because vLLM keeps an exception of its imports, and with it every frame of that call.
    """
    with _starting, _environment(variables := environment()):
        logging.getLogger("vllm").setLevel(variables["VLLM_LOGGING_LEVEL"])  # It logs before it reads the variable.
        importlib.import_module("vllm.v1.engine.async_llm")


@dataclass(frozen=True)
class Engine:
    """A running engine."""

    llm: "AsyncLLM"
    devices: tuple[int, ...] | None
    """As `ModelFiles.devices`."""
    thread: ThreadPoolExecutor
    """The thread that started the engine. Its processes end when it ends (`PR_SET_PDEATHSIG`), so it must stay."""
    watchdog: "asyncio.Task[None]"

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
            llm = await asyncio.shield(starting)
            watchdog = asyncio.create_task(vllm_watchdog.watch(llm, _processes(llm)))
            return cls(llm, model.devices, thread, watchdog)
        except BaseException:
            starting.add_done_callback(partial(_abandon, thread))
            raise

    async def stop(self) -> None:
        """Stops the engine and its processes, after some seconds. Requests in progress end in `EngineDeadError`."""
        from vllm.v1.engine.exceptions import EngineDeadError

        self.watchdog.cancel()
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
        used = [used_bytes(process.pid, self.devices) for process in _processes(self.llm)]
        return sum(one for one in used if one is not None) or None


def _start(model: ModelFiles, options: EngineOptions, arguments: Arguments) -> "AsyncLLM":
    if not (Path(model.path) / "config.json").is_file():
        raise ModelLoadFailed("The model's files are missing or incomplete: there is no config.json.")
    cause = ""
    try:
        # The engine has connected once it has started, and nothing connects later: the sockets' names can be removed at
        # once. So they are not left behind when this process is killed.
        with TemporaryDirectory(prefix="muybridge-", ignore_cleanup_errors=True) as sockets:
            failure = Path(sockets) / "failure"
            variables = {
                **environment(),
                **hardware.environment(model.devices),
                "VLLM_RPC_BASE_PATH": sockets,
                start_failure.VARIABLE: str(failure),
            }
            # transformers reads a vocabulary as hundreds of thousands of Python objects.
            with _starting, _environment(variables), python_allocator.malloc_only():
                from vllm.engine.arg_utils import AsyncEngineArgs
                from vllm.platforms import current_platform
                from vllm.usage.usage_lib import UsageContext
                from vllm.v1.engine.async_llm import AsyncLLM

                from adapters.engines.vllm_sockets import replace_sockets

                cpu = current_platform.is_cpu()
                with _environment(cpu_environment(options) if cpu else {}):
                    settings = {**common_arguments(model, options, cpu=cpu), **arguments(cpu)}
                    # The defaults of a server: larger steps on GPUs with much memory.
                    context = UsageContext.OPENAI_API_SERVER
                    try:
                        llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**settings), usage_context=context)
                    except Exception:
                        cause = start_failure.read_failure(failure)
                        raise
                replace_sockets(llm)
                return llm
    except ModelLoadFailed:
        raise
    except Exception as error:
        log.exception("vLLM did not start")
        # INTERNAL vllm==0.32: its message holds the exit codes of its processes, and nothing else of the cause.
        if "'EngineCore': -9" in str(error) or start_failure.is_out_of_memory(f"{cause} {error}"):
            raise OutOfMemory(
                "The model's engine did not start, because memory ran out. Unload other models, or choose a smaller "
                "model."
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
