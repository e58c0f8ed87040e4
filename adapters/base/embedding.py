"""Embedding models: texts to vectors."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from adapters.base.adapter import Adapter, Kind
from adapters.base.content import Usage


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to embed."""

    inputs: tuple[str | tuple[int, ...], ...]
    """Each a text, or its token ids."""
    dimensions: int | None = None
    """Keep this many of each vector's first numbers and normalise again, for models trained for that; None: all."""
    truncate: Literal["start", "end", "none"] | None = None
    """What to do with an input that is longer than the model reads: drop its start or its end, or refuse it. None: cut
    it into windows, and average their vectors."""


@dataclass(frozen=True, slots=True)
class EmbeddingResult:
    """One vector per input, in order."""

    vectors: tuple[bytes, ...]
    """Each float32 [dimensions], little-endian, of length one."""
    usage: Usage
    generation_ms: float


class EmbeddingAdapter(Adapter):
    """A model that turns texts into vectors."""

    kind: ClassVar[Kind] = "embedding"

    @abstractmethod
    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """The vectors of all inputs.

        Raises:
            ContextLengthExceeded: An input is longer than the model reads, and `truncate` is "none".
            UnsupportedOption: The model does not support these `dimensions`, or an id is not a token.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """
