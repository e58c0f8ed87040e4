"""Embeddings on vLLM's pooling engine, for large models on a GPU; vLLM schedules and batches by itself."""

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from adapters.base import EmbeddingAdapter, EmbeddingRequest, EmbeddingResult, LoadProgress, ModelFiles, Report, Usage
from adapters.embedding.recipe import EmbeddingOptions, Recipe, read_recipe
from adapters.embedding.tokens import Tokenizer, check_width, of_inputs
from adapters.embedding.windows import Ids
from adapters.engines.errors import ENGINE_DEAD, INVALID_NUMBERS, VllmErrors
from adapters.engines.vllm import Engine, preload
from adapters.engines.vllm_settings import EngineOptions
from adapters.errors import AdapterError, GenerationFailed, Interrupted, ModelLoadFailed

_POOLING = {"cls": "CLS", "mean": "MEAN", "last": "LAST"}


class VllmEmbedding(EmbeddingAdapter):
    """An embedding model on vLLM. The engine is a child of this process."""

    class Options(EmbeddingOptions, EngineOptions):
        """What the operator may set: options of every embedding model, of every model on vLLM, and these."""

        max_num_seqs: int = Field(256, ge=1, le=4096)
        """Inputs that are computed at the same time; more wait."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        """Takes over a running engine. Use `load`."""
        self._engine: Engine | None = engine
        self._tokenizer = tokenizer

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """A running engine, warmed up. As `Adapter.load`."""
        options, directory = cls.Options.of(model), Path(model.path)
        recipe = read_recipe(directory, options)
        tokenizer = Tokenizer(directory, recipe)
        report(LoadProgress("importing vLLM"))
        await asyncio.to_thread(preload)
        report(LoadProgress("starting engine"))
        engine = await Engine.start(model, options, lambda cpu: _arguments(recipe, options, cpu=cpu))
        adapter = cls(engine, tokenizer)
        report(LoadProgress("warming up"))
        try:
            check_width(await adapter._vectors([[0]]), recipe)
        except BaseException as error:
            await asyncio.shield(adapter.unload())
            if isinstance(error, AdapterError) and not isinstance(error, ModelLoadFailed):
                raise ModelLoadFailed(f"The model failed on its first request: {error.message}") from error
            raise
        return adapter

    async def unload(self) -> None:
        """Stops the engine. Requests in progress end in `Interrupted`."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.stop()

    @property
    def alive(self) -> bool:
        """False once the engine's process has ended."""
        return self._engine is not None and self._engine.alive

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """As `EmbeddingAdapter.embed`."""
        begin = time.perf_counter()
        inputs = await self._tokenizer.encode(request)
        sequences = [window for parts in inputs for window in parts]
        vectors = await self._vectors(sequences)
        return EmbeddingResult(
            of_inputs(inputs, vectors, request.dimensions),
            Usage(sum(map(len, sequences))),
            (time.perf_counter() - begin) * 1000,
        )

    async def _vectors(self, sequences: list[Ids]) -> list[bytes]:
        """The whole vectors, computed at once; if one fails or this is cancelled, all are aborted."""
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

        if self._engine is None:
            raise Interrupted(ENGINE_DEAD)
        parameters = PoolingParams(task="embed", use_activation=True)  # of length one, whatever the checkpoint says
        with VllmErrors(lambda: self.alive):
            async for output in self._engine.llm.encode(tokens_input(list(ids)), parameters, uuid.uuid4().hex):
                if output.finished:
                    numbers = output.outputs.data.float().numpy()
                    if not bool((abs(numbers) <= 2).all()):  # also false for NaN
                        raise GenerationFailed(INVALID_NUMBERS)
                    return numbers.astype("<f4", copy=False).tobytes()
        raise Interrupted("The engine aborted the request. Send it again.")


def _arguments(recipe: Recipe, options: VllmEmbedding.Options, *, cpu: bool) -> dict[str, Any]:
    """Arguments of vLLM's `AsyncEngineArgs` for an embedding model."""
    from vllm.config import PoolerConfig

    pooling: Any = _POOLING[recipe.pooling]
    return {
        "runner": "pooling",
        "pooler_config": PoolerConfig(seq_pooling_type=pooling, use_activation=True),
        "skip_tokenizer_init": True,  # `Tokenizer` does that work.
        "dtype": "float32" if cpu and options.dtype == "auto" else options.dtype,
        "max_model_len": recipe.max_tokens,
        "max_num_seqs": options.max_num_seqs,
    }
