"""Texts far beyond a model's context, refused before the work and memory of tokenizing all of them."""

from collections.abc import Awaitable, Callable, Sequence

from adapters.errors import ContextLengthExceeded, context_exceeded

LIKELY_CHARACTERS = 8
"""Characters of a token, at most, in nearly all texts. Longer prompts are counted before all of them is tokenized."""
PIECE_CHARACTERS = 16 * 1024


async def check_length(
    texts: Sequence[str], context: int, prompts: int, count: Callable[[str], Awaitable[int]], *, param: str
) -> None:
    """Counts the tokens of texts piece by piece, in turn with those of other requests, until they are too many.

    Args:
        texts: What the prompts contain.
        context: Tokens that a prompt may have.
        prompts: How many prompts share the texts.
        count: Counts the tokens of a piece.
        param: The request field that an error names.

    Raises:
        ContextLengthExceeded: The texts have more tokens than the prompts may have.
    """
    tokens = 0
    for text in texts:
        for start in range(0, len(text), PIECE_CHARACTERS):
            tokens += max(0, await count(text[start : start + PIECE_CHARACTERS]) - 1)  # the cut may have made one more
            if tokens > context * prompts:
                raise ContextLengthExceeded(context_exceeded(context, f"at least {tokens}", param), param=param)
