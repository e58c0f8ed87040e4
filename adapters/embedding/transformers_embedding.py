"""Embeddings with transformers and torch alone: an encoder, pooled; batches collected across requests."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field

from adapters.base import EmbeddingAdapter, EmbeddingRequest, EmbeddingResult, LoadProgress, ModelFiles, Report, Usage
from adapters.embedding.batching import Batcher
from adapters.embedding.recipe import EmbeddingOptions, Pooling, Recipe, read_recipe
from adapters.embedding.tokens import Ids, Reader, shortened
from adapters.engines.threads import ModelThread
from adapters.errors import AdapterError, GenerationFailed, Interrupted, ModelLoadFailed, OutOfMemory

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

BATCH_TOKENS = {"cpu": 2048, "cuda": 32_768}
"""Of one batch, where the operator sets none: MiniLM takes a third of a second for it on two cores."""


class TransformersEmbedding(EmbeddingAdapter):
    """Any encoder or decoder that transformers knows, with the pooling that its files name."""

    class Options(EmbeddingOptions):
        """What the operator may set, beside what both backends know."""

        device: Literal["auto", "cpu", "cuda"] = "auto"
        """"auto": a GPU where torch sees one."""
        max_batch_tokens: int | None = Field(None, ge=16)
        """Tokens that are computed at once, padding included; None: 2048 on a CPU, 32768 on a GPU."""

    def __init__(self, encoder: "_Encoder", reader: Reader, batcher: Batcher) -> None:
        """Use `load`."""
        self._encoder: _Encoder | None = encoder
        self._reader = reader
        self._batcher = batcher

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """The model, in memory and warm. As `Adapter.load`."""
        options, directory = cls.Options.of(model), Path(model.path)
        recipe = read_recipe(directory, options)
        report(LoadProgress("loading weights"))
        thread = ModelThread[Any]("embedding-load")
        try:
            reader = await thread.run(partial(Reader, directory, recipe))
            encoder = await thread.run(partial(_Encoder.load, directory, recipe, options))
        finally:
            thread.close()
        budget = options.max_batch_tokens or BATCH_TOKENS[encoder.device]
        return cls(encoder, reader, Batcher(encoder.vectors, max_batch_tokens=budget))

    async def unload(self) -> None:
        """Gives the memory back. Requests in progress end in `Interrupted`."""
        if self._encoder is not None:
            encoder, self._encoder = self._encoder, None
            await self._batcher.close()
            await asyncio.to_thread(encoder.release)

    @property
    def alive(self) -> bool:
        """False once unloaded."""
        return self._encoder is not None

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """As `EmbeddingAdapter.embed`."""
        begun = time.perf_counter()
        if self._encoder is None:
            raise Interrupted("The model was unloaded.")
        sequences = await self._reader.read(request)
        vectors = await self._batcher.embed(sequences)
        return EmbeddingResult(
            tuple(shortened(vector, request.dimensions) for vector in vectors),
            Usage(sum(map(len, sequences))),
            (time.perf_counter() - begun) * 1000,
        )


class _Encoder:
    """The network, and what makes vectors of its hidden states. Blocks; one thread at a time."""

    def __init__(self, network: Any, pooling: Pooling, padding: int, device: str) -> None:
        self._network: Any = network
        self._pooling: Pooling = pooling
        self._padding = padding
        self.device = device

    @classmethod
    def load(cls, directory: Path, recipe: Recipe, options: TransformersEmbedding.Options) -> Self:
        """Weights in memory, and one small batch computed, which allocates what the first request would wait for.

        Raises:
            ModelLoadFailed: Files are missing, damaged or of another kind of model.
            OutOfMemory: It does not fit.
        """
        with _translated(loading=True):
            import torch
            from transformers import AutoModel
            from transformers.utils import logging as transformers_logging

            transformers_logging.disable_progress_bar()
            transformers_logging.set_verbosity_error()
            if options.device == "cuda" and not torch.cuda.is_available():
                raise ModelLoadFailed("The model wants a GPU, and there is none.")
            device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
            if options.threads:
                torch.set_num_threads(options.threads)
            network = AutoModel.from_pretrained(
                directory,
                dtype="auto" if options.dtype == "auto" else getattr(torch, options.dtype),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
            if options.dtype == "auto":
                wide = device == "cpu" or network.dtype == torch.float64
                half = torch.float16 if network.dtype == torch.float32 else network.dtype
                network = network.to(torch.float32 if wide else half)
            network = network.to(device).eval().requires_grad_(requires_grad=False)
            encoder = cls(network, recipe.pooling, network.config.pad_token_id or 0, device)
            if len(encoder.vectors([[0], [0, 0]])[0]) != 4 * recipe.width:
                raise ModelLoadFailed("The model's hidden states are not as wide as its configuration says.")
        return encoder

    def vectors(self, batch: list[Ids]) -> list[bytes]:
        """Each sequence's vector: float32 little-endian, of length one.

        Args:
            batch: Token ids, each sequence at least one.

        Raises:
            OutOfMemory: The batch does not fit.
            GenerationFailed: Anything else.
        """
        with _translated():
            import torch

            lengths = torch.tensor([len(ids) for ids in batch])
            longest = int(lengths.max())
            padded = torch.tensor([[*ids, *[self._padding] * (longest - len(ids))] for ids in batch])
            mask = torch.arange(longest) < lengths[:, None]
            padded, mask = padded.to(self.device), mask.to(self.device)
            with torch.inference_mode():
                hidden = self._network(input_ids=padded, attention_mask=mask.long(), return_dict=True).last_hidden_state
                pooled = _pooled(hidden.float(), mask, self._pooling)
                numbers = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy().astype("<f4", copy=False)
            if not bool(torch.isfinite(torch.from_numpy(numbers)).all()):
                raise GenerationFailed("The model made numbers that are none; its dtype may be too narrow for it.")
            return [row.tobytes() for row in numbers]

    def release(self) -> None:
        """Drops the weights."""
        self._network = None
        if self.device == "cuda":
            import torch

            torch.cuda.empty_cache()


def _pooled(hidden: "torch.Tensor", mask: "torch.Tensor", pooling: Pooling) -> "torch.Tensor":
    """One vector a sequence, [batch, width], of hidden states [batch, tokens, width]; padding is on the right."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[range(len(hidden)), mask.sum(1) - 1]
    weights = mask.unsqueeze(2).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


@contextmanager
def _translated(*, loading: bool = False) -> Iterator[None]:
    """Exceptions of torch and transformers as ours."""
    try:
        yield
    except AdapterError:
        raise
    except Exception as error:
        text = str(error).lower()
        if isinstance(error, MemoryError) or "out of memory" in text or "defaultcpuallocator" in text:
            raise OutOfMemory("The embedding model ran out of memory.") from None
        if loading:
            log.exception("transformers could not load the model")
            raise ModelLoadFailed("The model's files are missing, damaged or of another kind of model.") from error
        log.error("the embedding model failed: %s", type(error).__name__)  # its message may hold what it read
        raise GenerationFailed("The embedding model failed.") from error
