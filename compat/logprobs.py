"""Log probabilities of tokens, in the formats of chat and of text completions."""

from collections.abc import Sequence

from adapters.base import CandidateToken, TokenLogprob
from compat.wire import WireReply

IMPOSSIBLE = -9999.0
"""OpenAI's value for a token whose probability is unknown or nearly zero."""


class TopLogprob(WireReply):
    """One of the most likely tokens at a position."""

    token: str
    logprob: float
    bytes: list[int]


class ChatCompletionTokenLogprob(WireReply):
    """A generated token."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(WireReply):
    """Log probabilities of a chat choice or of a chunk of it."""

    content: list[ChatCompletionTokenLogprob]
    refusal: None = None


class CompletionLogprobs(WireReply):
    """Log probabilities of a text completion or of a chunk of it. Each list has one entry per token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]
    """Where each token begins in the completion's text, in characters."""


def render_logprobs(positions: Sequence[TokenLogprob]) -> list[ChatCompletionTokenLogprob]:
    """The format of chat completions and responses."""
    return [
        ChatCompletionTokenLogprob(
            token=one.chosen.token,
            logprob=_finite(one.chosen),
            bytes=list(one.chosen.data),
            top_logprobs=[TopLogprob(top.token, _finite(top), list(top.data)) for top in one.top],
        )
        for one in positions
    ]


def render_completion_logprobs(positions: Sequence[TokenLogprob], offset: int) -> CompletionLogprobs:
    """The format of text completions.

    Args:
        positions: Consecutive tokens.
        offset: Characters of the completion before the first of them.
    """
    offsets: list[int] = []
    for one in positions:
        offsets.append(offset)
        offset += len(one.chosen.token)
    return CompletionLogprobs(
        tokens=[one.chosen.token for one in positions],
        token_logprobs=[one.chosen.logprob for one in positions],
        top_logprobs=[
            None if one.chosen.logprob is None else {other.token: _finite(other) for other in one.top}
            for one in positions
        ],
        text_offset=offsets,
    )


def _finite(one: CandidateToken) -> float:
    """Not below `IMPOSSIBLE`: JSON has no infinity."""
    return IMPOSSIBLE if one.logprob is None else max(one.logprob, IMPOSSIBLE)
