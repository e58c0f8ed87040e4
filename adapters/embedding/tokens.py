"""Requests to token ids, within the model's limits, and whole vectors to vectors of the requested size.

Both backends use this, so they refuse the same inputs with the same messages. It runs in the model's process.
"""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from adapters.base import EmbeddingRequest
from adapters.embedding.recipe import Recipe
from adapters.embedding.windows import Ids, Truncate, averaged, truncated, windows
from adapters.errors import ContextLengthExceeded, ModelLoadFailed, UnsupportedOption

MAX_REQUEST_TOKENS = 300_000
"""Of all inputs of a request together; OpenAI's limit."""
INLINE_CHARACTERS = 4_000
"""Longer texts are tokenized in a thread. Shorter ones take under half a millisecond, as much as the thread costs."""
CHUNK_CHARACTERS = 100_000
"""Tokenized at once; the limit on a request's tokens is checked in between."""


class Tokenizer:
    """A checkpoint's tokenizer, with the model's limits."""

    def __init__(self, directory: Path, recipe: Recipe) -> None:
        """Loads `tokenizer.json`.

        Raises:
            ModelLoadFailed: It is missing or damaged.
        """
        import tokenizers

        self._recipe = recipe
        path = directory / "tokenizer.json"
        if not path.is_file():
            raise ModelLoadFailed("The model's files are missing or incomplete: there is no tokenizer.json.")
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # it raises plain Exception
            raise ModelLoadFailed("The model's tokenizer.json is damaged or of an unknown form.") from error
        # The file stores truncation and padding: MiniLM's would cut at 128 tokens, and pad shorter texts to that.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # "[SEP]" in a user's text is text.
        mask: list[int] = self._tokenizer.encode("a").special_tokens_mask
        self._special = (_leading_ones(mask), _leading_ones(mask[::-1]))
        """How many special tokens a text begins and ends with."""

    async def encode(self, request: EmbeddingRequest) -> list[list[Ids]]:
        """The windows of each input; texts get the special tokens of their model, token ids are used as they are.

        Raises:
            ContextLengthExceeded: An input has more tokens than the model accepts, and must not be cut; or all together
                have too many.
            UnsupportedOption: Token ids outside the vocabulary; `dimensions` that the model does not have.
        """
        self._check_size(request.dimensions)
        characters = sum(len(one) for one in request.inputs if isinstance(one, str))
        if characters < INLINE_CHARACTERS:
            return self._encode(request.inputs, request.truncate)
        return await asyncio.to_thread(self._encode, request.inputs, request.truncate)

    def _encode(self, inputs: Sequence[str | Ids], truncate: Truncate | Literal["none"] | None) -> list[list[Ids]]:
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
                f"A request may have at most {MAX_REQUEST_TOKENS:,} tokens in all inputs together; this one has "
                f"{total:,} or more. Send fewer inputs in each request.",
                param="input",
            )
        return [self._windows(index, ids, index in texts, truncate) for index, ids in enumerate(found)]

    def _windows(self, index: int, ids: Ids, is_text: bool, truncate: Truncate | Literal["none"] | None) -> list[Ids]:
        self._check(index, ids)
        limit = self._recipe.max_tokens
        head, tail = self._special if is_text and limit > sum(self._special) else (0, 0)
        if truncate is None:
            return windows(ids, limit, head, tail)
        if truncate != "none":
            return [truncated(ids, limit, head, tail, truncate)]
        if len(ids) > limit:
            raise ContextLengthExceeded(
                f"This model's maximum context length is {limit} tokens per input; input {index} (counted from 0) has "
                f"{len(ids)}. Split it, or leave truncate out.",
                param="input",
            )
        return [ids]

    def _prepared(self, text: str) -> str:
        text = self._recipe.prompt + text
        return text.lower() if self._recipe.lowercase else text

    def _check(self, index: int, ids: Ids) -> None:
        if not ids:
            raise UnsupportedOption(f"Input {index} (counted from 0) has no tokens. Leave it out.", param="input")
        if max(ids) >= self._recipe.vocabulary or min(ids) < 0:
            wrong = next(one for one in ids if not 0 <= one < self._recipe.vocabulary)
            raise UnsupportedOption(
                f"Input {index} (counted from 0) has the token id {wrong}; this model's token ids are 0 to "
                f"{self._recipe.vocabulary - 1}. Token ids of other models have another meaning here: send text.",
                param="input",
            )

    def _check_size(self, dimensions: int | None) -> None:
        width, sizes = self._recipe.width, self._recipe.sizes
        if dimensions is None or dimensions == width or (sizes is None and 0 < dimensions < width):
            return
        if sizes is None or dimensions not in sizes:
            can = "1 to " if sizes is None else "".join(f"{size}, " for size in sizes if size != width)
            raise UnsupportedOption(
                f"This model has no vectors of {dimensions} dimensions. Send one of: {can}{width}.",
                param="dimensions",
            )


def _leading_ones(mask: Sequence[int]) -> int:
    return next((at for at, one in enumerate(mask) if not one), len(mask))


def of_inputs(inputs: Sequence[Sequence[Ids]], vectors: Sequence[bytes], dimensions: int | None) -> tuple[bytes, ...]:
    """One vector per input, of the requested size, from those of all windows in order."""
    found, at = list[bytes](), 0
    for parts in inputs:
        mean = averaged(vectors[at : at + len(parts)], [len(part) for part in parts])
        found.append(shortened(mean, dimensions))
        at += len(parts)
    return tuple(found)


def _chunks(texts: dict[int, str]) -> Iterator[list[int]]:
    """The texts' indices in groups of about `CHUNK_CHARACTERS`."""
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


def check_width(vectors: Sequence[bytes], recipe: Recipe) -> None:
    """Raises `ModelLoadFailed` unless vectors have the width that the recipe says."""
    if any(len(vector) != 4 * recipe.width for vector in vectors):
        raise ModelLoadFailed(
            f"The model's vectors have {len(vectors[0]) // 4} dimensions, but its config.json says {recipe.width}."
        )


def shortened(vector: bytes, dimensions: int | None) -> bytes:
    """The first `dimensions` numbers of a vector, normalised to length one. float32 little-endian."""
    if dimensions is None or len(vector) == 4 * dimensions:
        return vector
    numbers = np.frombuffer(vector, "<f4", dimensions)
    return (numbers / max(float(np.linalg.norm(numbers)), 1e-12)).astype("<f4").tobytes()
