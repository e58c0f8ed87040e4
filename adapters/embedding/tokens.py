"""Requests to token ids, within the model's limits, and whole vectors to those of the size that was asked for.

Both backends read with this, so they refuse the same inputs with the same words. It runs in the model's process.
"""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from adapters.base import EmbeddingRequest
from adapters.embedding.recipe import Recipe
from adapters.errors import ContextLengthExceeded, ModelLoadFailed, UnsupportedOption

MAX_REQUEST_TOKENS = 300_000
"""Of all inputs together, as OpenAI has it."""
INLINE_CHARACTERS = 4_000
"""Longer texts are tokenized in a thread: these take under half a millisecond, about what the threads cost."""
CHUNK_CHARACTERS = 100_000
"""Tokenized at once; the ceiling on a request's tokens is looked at in between."""

Ids = Sequence[int]


class Reader:
    """A checkpoint's tokenizer, and what the model can read."""

    def __init__(self, directory: Path, recipe: Recipe) -> None:
        """Reads `tokenizer.json`.

        Raises:
            ModelLoadFailed: There is none, or it is damaged.
        """
        from tokenizers import Tokenizer

        self._recipe = recipe
        path = directory / "tokenizer.json"
        if not path.is_file():
            raise ModelLoadFailed("The model's files are missing or incomplete: there is no tokenizer.json.")
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # it raises plain Exception
            raise ModelLoadFailed("The model's tokenizer.json cannot be read.") from error
        # What was in force when the file was saved: MiniLM's would cut at 128 tokens, and pad all others to that.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # "[SEP]" in somebody's text is text.

    async def read(self, request: EmbeddingRequest) -> list[Ids]:
        """The token ids of each input; texts get the special tokens of their model, ids stand as they are.

        Raises:
            ContextLengthExceeded: An input has more tokens than the model reads, or all together too many.
            UnsupportedOption: Ids that are no tokens of this model; `dimensions` that it cannot give.
        """
        self._check_size(request.dimensions)
        characters = sum(len(one) for one in request.inputs if isinstance(one, str))
        if characters < INLINE_CHARACTERS:
            return self._read(request.inputs)
        return await asyncio.to_thread(self._read, request.inputs)

    def _read(self, inputs: Sequence[str | Ids]) -> list[Ids]:
        texts = {index: one for index, one in enumerate(inputs) if isinstance(one, str)}
        found: list[Ids] = [() if isinstance(one, str) else one for one in inputs]
        total = sum(len(ids) for ids in found)
        for chunk in _chunks(texts):
            encoded = self._tokenizer.encode_batch_fast([self._prepared(texts[index]) for index in chunk])
            for index, encoding in zip(chunk, encoded, strict=True):
                found[index] = encoding.ids
                total += len(encoding)
            if total > MAX_REQUEST_TOKENS:
                break
        if total > MAX_REQUEST_TOKENS:
            raise ContextLengthExceeded(
                f"A request may have at most {MAX_REQUEST_TOKENS:,} tokens in all its inputs together; "
                f"this one has {total:,} or more.",
                param="input",
            )
        for index, ids in enumerate(found):
            self._check(index, ids)
        return found

    def _prepared(self, text: str) -> str:
        text = self._recipe.prompt + text
        return text.lower() if self._recipe.lowercase else text

    def _check(self, index: int, ids: Ids) -> None:
        if not ids:
            raise UnsupportedOption(f"Input {index} (counted from 0) holds no tokens.", param="input")
        if len(ids) > self._recipe.max_tokens:
            raise ContextLengthExceeded(
                f"This model reads at most {self._recipe.max_tokens} tokens at once; "
                f"input {index} (counted from 0) has {len(ids)}.",
                param="input",
            )
        if max(ids) >= self._recipe.vocabulary or min(ids) < 0:
            wrong = next(one for one in ids if not 0 <= one < self._recipe.vocabulary)
            raise UnsupportedOption(
                f"Input {index} (counted from 0) has the token id {wrong}; this model's are 0 to "
                f"{self._recipe.vocabulary - 1}. Ids of another model's tokenizer mean nothing here: send text.",
                param="input",
            )

    def _check_size(self, dimensions: int | None) -> None:
        width, sizes = self._recipe.width, self._recipe.sizes
        if dimensions is None or dimensions == width or (sizes is None and 0 < dimensions < width):
            return
        if sizes is None or dimensions not in sizes:
            can = "1 to " if sizes is None else "".join(f"{size}, " for size in sizes if size != width)
            raise UnsupportedOption(
                f"This model's vectors can have these dimensions: {can}{width}.", param="dimensions"
            )


def _chunks(texts: dict[int, str]) -> Iterator[list[int]]:
    """The texts' indices, so many at a time as make `CHUNK_CHARACTERS`."""
    indices = list(texts)
    cuts, size = [0], 0
    for at, index in enumerate(indices):
        size += len(texts[index])
        if size >= CHUNK_CHARACTERS:
            cuts.append(at + 1)
            size = 0
    for begin, end in pairwise([*cuts, len(indices)]):
        if begin < end:
            yield indices[begin:end]


def shortened(vector: bytes, dimensions: int | None) -> bytes:
    """The first numbers of a vector, of length one again. float32 little-endian, as in `EmbeddingResult`."""
    if dimensions is None or len(vector) == 4 * dimensions:
        return vector
    numbers = np.frombuffer(vector, "<f4", dimensions)
    return (numbers / max(float(np.linalg.norm(numbers)), 1e-12)).astype("<f4").tobytes()
