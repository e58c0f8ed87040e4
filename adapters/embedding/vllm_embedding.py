"""Embeddings on vLLM's pooling engine, for large models on a GPU; it schedules and batches by itself.

It lives in a child process of its own, so the environment that vLLM is configured by is this model's alone, and the
server's own engines (adapters/text) start undisturbed.
"""

import asyncio
import logging
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from adapters.base import EmbeddingAdapter, EmbeddingRequest, EmbeddingResult, LoadProgress, ModelFiles, Report, Usage
from adapters.embedding.recipe import EmbeddingOptions, Recipe, read_recipe
from adapters.embedding.tokens import Ids, Reader, shortened
from adapters.errors import AdapterError, GenerationFailed, Interrupted, ModelLoadFailed, OutOfMemory
from adapters.process import parent_death

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

log = logging.getLogger(__name__)

_DEAD = "The model's engine has ended. The same request may succeed once it is loaded again."
_POOLING = {"cls": "CLS", "mean": "MEAN", "last": "LAST"}


class VllmEmbedding(EmbeddingAdapter):
    """An embedding model on vLLM. The engine is a process below this one."""

    class Options(EmbeddingOptions):
        """What the operator may set, beside what both backends know."""

        kv_cache_gib: float = Field(1.0, gt=0)
        """Memory for the attention cache; encoders such as BERT have none and leave it alone."""
        max_num_seqs: int = Field(256, ge=1, le=4096)
        """Inputs that are computed at the same time; more wait."""
        max_num_batched_tokens: int | None = Field(None, ge=16)
        """Tokens in one step of the engine; None: vLLM's choice."""
        tensor_parallel_size: int = Field(1, ge=1)
        """GPUs that share the model."""
        quantization: str | None = None
        """A method of vLLM's, where the checkpoint does not name its own."""
        enforce_eager: bool | None = None
        """Without compilation: starts sooner, runs slower. None: so on a CPU, compiled on a GPU."""

    def __init__(self, engine: "AsyncLLM", reader: Reader, thread: ThreadPoolExecutor) -> None:
        """Takes over a running engine, and the thread that started it, which must outlive it. Use `load`."""
        self._engine: AsyncLLM | None = engine
        self._reader = reader
        self._thread = thread

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """A running, warm engine. As `Adapter.load`."""
        options, directory = cls.Options.of(model), Path(model.path)
        recipe = read_recipe(directory, options)
        reader = Reader(directory, recipe)
        report(LoadProgress("starting engine"))
        loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1, thread_name_prefix="vllm")
        engine = await loop.run_in_executor(thread, partial(_start, model.path, recipe, options))
        adapter = cls(engine, reader, thread)
        report(LoadProgress("warming up"))
        try:
            (vector,) = await adapter._vectors([[0]])
            if len(vector) != 4 * recipe.width:
                raise ModelLoadFailed("The model's hidden states are not as wide as its configuration says.")
        except BaseException as error:
            await asyncio.shield(adapter.unload())
            if isinstance(error, AdapterError) and not isinstance(error, ModelLoadFailed):
                raise ModelLoadFailed(f"The model failed on its first request: {error.message}") from error
            raise
        return adapter

    async def unload(self) -> None:
        """Ends the engine. Requests in progress end in `Interrupted`."""
        if self._engine is None:
            return
        from vllm.v1.engine.exceptions import EngineDeadError

        engine, self._engine = self._engine, None
        engine.output_processor.propagate_error(EngineDeadError())
        await asyncio.get_running_loop().run_in_executor(self._thread, partial(engine.shutdown, timeout=10))
        self._thread.shutdown(wait=False)

    @property
    def alive(self) -> bool:
        """False once the engine's process has ended."""
        return self._engine is not None and not self._engine.errored

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """As `EmbeddingAdapter.embed`."""
        begun = time.perf_counter()
        sequences = await self._reader.read(request)
        vectors = await self._vectors(sequences)
        return EmbeddingResult(
            tuple(shortened(vector, request.dimensions) for vector in vectors),
            Usage(sum(map(len, sequences))),
            (time.perf_counter() - begun) * 1000,
        )

    async def _vectors(self, sequences: list[Ids]) -> list[bytes]:
        """The whole vectors, all sequences in the engine at once; where one fails or nobody waits, all are aborted."""
        tasks = [asyncio.create_task(self._vector(ids)) for ids in sequences]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _vector(self, ids: Ids) -> bytes:
        from vllm.inputs import tokens_input
        from vllm.pooling_params import PoolingParams
        from vllm.v1.engine.exceptions import EngineDeadError

        if self._engine is None:
            raise Interrupted(_DEAD)
        parameters = PoolingParams(task="embed", use_activation=True)  # of length one, whatever the checkpoint says
        try:
            async for output in self._engine.encode(tokens_input(list(ids)), parameters, uuid.uuid4().hex):
                if output.finished:
                    numbers = output.outputs.data.float().numpy()
                    if not bool((abs(numbers) <= 2).all()):  # NaN is not
                        raise GenerationFailed("The model made numbers that are none.")
                    return numbers.astype("<f4", copy=False).tobytes()
        except AdapterError:
            raise
        except Exception as error:
            if isinstance(error, EngineDeadError) or not self.alive:
                raise Interrupted(_DEAD) from error
            log.error("vLLM failed on an input: %s", type(error).__name__)
            raise GenerationFailed("The model's engine failed on this request.") from error
        raise Interrupted("The request was cut short by the engine.")


def _start(path: str, recipe: Recipe, options: VllmEmbedding.Options) -> "AsyncLLM":
    """A running engine; blocks for many seconds.

    Raises:
        ModelLoadFailed: vLLM refuses files or options, or the engine did not start.
        OutOfMemory: The kernel killed the engine while it loaded.
    """
    debugging = logging.getLogger("adapters").isEnabledFor(logging.DEBUG)
    os.environ.update(
        {
            "VLLM_LOGGING_LEVEL": "INFO" if debugging else "ERROR",
            "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "default" if debugging else "ignore"),
            "TORCH_CPP_LOG_LEVEL": "INFO" if debugging else "ERROR",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_DO_NOT_TRACK": "1",
            "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
            parent_death.VARIABLE: str(os.getpid()),
        }
    )
    # The engine has connected once it has started, and nobody connects later: the sockets' names can go at once, and
    # so are not left behind when this process is killed, which is how a child ends.
    sockets = TemporaryDirectory(prefix="muybridge-", ignore_cleanup_errors=True)
    os.environ["VLLM_RPC_BASE_PATH"] = sockets.name
    try:
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        cpu = current_platform.is_cpu()
        if cpu:
            os.environ.update(_for_cpu(options))
        return AsyncLLM.from_engine_args(_arguments(path, recipe, options, cpu=cpu))
    except Exception as error:
        log.exception("vLLM did not start")
        if "'EngineCore': -9" in str(error):
            raise OutOfMemory("The model's engine was killed while it loaded; memory ran out.") from error
        raise ModelLoadFailed("The model's engine did not start; the server's log says why.") from error
    finally:
        with suppress(OSError):
            sockets.cleanup()


def _for_cpu(options: VllmEmbedding.Options) -> dict[str, str]:
    """As adapters/engines/vllm.py has it, which says why."""
    threads = options.threads or os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))
    environment = {"OMP_NUM_THREADS": str(threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    if options.tensor_parallel_size == 1:
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    if options.enforce_eager is not False:
        environment["TORCH_COMPILE_DISABLE"] = "1"
    return environment


def _arguments(path: str, recipe: Recipe, options: VllmEmbedding.Options, *, cpu: bool) -> Any:
    from vllm.config import PoolerConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

    pooling: Any = _POOLING[recipe.pooling]
    return AsyncEngineArgs(
        model=path,
        runner="pooling",
        pooler_config=PoolerConfig(seq_pooling_type=pooling, use_activation=True),
        load_format="safetensors",  # Never pickles, whatever lies in the directory.
        trust_remote_code=False,
        skip_tokenizer_init=True,  # `Reader` has read.
        dtype="float32" if cpu and options.dtype == "auto" else options.dtype,
        quantization=options.quantization,
        max_model_len=recipe.max_tokens,
        kv_cache_memory_bytes=int(options.kv_cache_gib * 2**30),
        max_num_seqs=options.max_num_seqs,
        max_num_batched_tokens=options.max_num_batched_tokens,
        enforce_eager=cpu if options.enforce_eager is None else options.enforce_eager,
        tensor_parallel_size=options.tensor_parallel_size,
        distributed_executor_backend="uni" if cpu and options.tensor_parallel_size == 1 else None,
        disable_log_stats=True,
        enable_log_requests=False,
        use_tqdm_on_load=False,
    )
