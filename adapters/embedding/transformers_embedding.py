"""Embeddings with transformers and torch alone: an encoder, pooled; batches collected across requests."""

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field

from adapters.base import EmbeddingAdapter, EmbeddingRequest, EmbeddingResult, LoadProgress, ModelFiles, Report, Usage
from adapters.embedding.batching import UNLOADED, Batcher
from adapters.embedding.recipe import EmbeddingOptions, Pooling, Recipe, read_recipe
from adapters.embedding.tokens import Tokenizer, check_width, of_inputs
from adapters.embedding.windows import Ids
from adapters.engines.errors import INVALID_NUMBERS, release_memory, translated
from adapters.engines.threads import ModelThread
from adapters.errors import GenerationFailed, Interrupted, ModelLoadFailed

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = {"cpu": 2048, "cuda": 32_768}
"""Of one batch, by default: MiniLM computes it in a third of a second on two cores."""


class TransformersEmbedding(EmbeddingAdapter):
    """Any encoder or decoder that transformers supports, with the pooling that its files name."""

    class Options(EmbeddingOptions):
        """What the operator may set, beside the options of every embedding model."""

        device: Literal["auto", "cpu", "cuda"] = "auto"
        """"auto": a GPU where torch sees one."""
        max_batch_tokens: int | None = Field(None, ge=16)
        """Tokens computed at once, padding included; None: 2048 on a CPU, 32768 on a GPU."""

    def __init__(self, encoder: "_Encoder", tokenizer: Tokenizer, batcher: Batcher) -> None:
        """Use `load`."""
        self._encoder: _Encoder | None = encoder
        self._tokenizer = tokenizer
        self._batcher = batcher

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """The model in memory, warmed up. As `Adapter.load`."""
        options, directory = cls.Options.of(model), Path(model.path)
        recipe = read_recipe(directory, options)
        report(LoadProgress("loading weights"))
        thread = ModelThread[Any]("embedding-load")
        try:
            tokenizer = await thread.run(partial(Tokenizer, directory, recipe))
            encoder = await thread.run(partial(_Encoder.load, directory, recipe, options))
        finally:
            thread.close()
        budget = options.max_batch_tokens or BATCH_TOKENS[encoder.device]
        return cls(encoder, tokenizer, Batcher(encoder.vectors, max_batch_tokens=budget))

    async def unload(self) -> None:
        """Releases the memory. Requests in progress end in `Interrupted`."""
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
        begin = time.perf_counter()
        if self._encoder is None:
            raise Interrupted(UNLOADED)
        inputs = await self._tokenizer.encode(request)
        sequences = [window for parts in inputs for window in parts]
        vectors = await self._batcher.embed(sequences)
        return EmbeddingResult(
            of_inputs(inputs, vectors, request.dimensions),
            Usage(sum(map(len, sequences))),
            (time.perf_counter() - begin) * 1000,
        )


class _Encoder:
    """The network and the pooling of its hidden states. Blocks; for one thread at a time."""

    def __init__(self, network: Any, pooling: Pooling, padding: int, device: str) -> None:
        self._network: Any = network
        self._pooling: Pooling = pooling
        self._padding = padding
        self.device = device

    @classmethod
    def load(cls, directory: Path, recipe: Recipe, options: TransformersEmbedding.Options) -> Self:
        """Loads the weights and computes one small batch, so that the first request does not wait for allocations.

        Raises:
            ModelLoadFailed: Files are missing, damaged or of another kind of model.
            OutOfMemory: It does not fit.
        """
        with translated("The embedding model", loading=True):
            import torch
            from transformers import AutoModel
            from transformers.utils import logging as transformers_logging

            transformers_logging.disable_progress_bar()
            transformers_logging.set_verbosity_error()
            if options.device == "cuda" and not torch.cuda.is_available():
                raise ModelLoadFailed('The option device is "cuda", and there is no GPU. Set it to "auto" or "cpu".')
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
            check_width(encoder.vectors([[0], [0, 0]]), recipe)
        return encoder

    def vectors(self, batch: list[Ids]) -> list[bytes]:
        """Each sequence's vector: float32 little-endian, of length one.

        Args:
            batch: Token ids; no sequence may be empty.

        Raises:
            OutOfMemory: The batch does not fit.
            GenerationFailed: Anything else.
        """
        with translated("The embedding model"):
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
                raise GenerationFailed(INVALID_NUMBERS)
            return [row.tobytes() for row in numbers]

    def release(self) -> None:
        """Frees the weights."""
        self._network = None
        release_memory()


def _pooled(hidden: "torch.Tensor", mask: "torch.Tensor", pooling: Pooling) -> "torch.Tensor":
    """One vector per sequence, [batch, width], from hidden states [batch, tokens, width]; padding is on the right."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[range(len(hidden)), mask.sum(1) - 1]
    weights = mask.unsqueeze(2).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)
