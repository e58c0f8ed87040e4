"""Log-probabilities of tokens, as chat and as text completions show them."""

from collections.abc import Sequence

from adapters.base import CandidateToken, TokenLogprob
from compat.wire import WireReply

IMPOSSIBLE = -9999.0
"""What OpenAI writes for a token whose probability it does not know, or that is next to none."""


class TopLogprob(WireReply):
    """One of the likeliest tokens of a place."""

    token: str
    logprob: float
    bytes: list[int]


class ChatCompletionTokenLogprob(WireReply):
    """A written token."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(WireReply):
    """Of one answer to a chat, or of a piece of it."""

    content: list[ChatCompletionTokenLogprob]
    refusal: None = None


class CompletionLogprobs(WireReply):
    """Of one plain continuation, or of a piece of it: one entry a token in each list."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]
    """Where each token begins in the answer's text, in characters."""


def render_logprobs(positions: Sequence[TokenLogprob]) -> ChoiceLogprobs:
    """As a chat shows them."""
    return ChoiceLogprobs(
        content=[
            ChatCompletionTokenLogprob(
                token=one.chosen.token,
                logprob=_finite(one.chosen),
                bytes=list(one.chosen.data),
                top_logprobs=[
                    TopLogprob(token=other.token, logprob=_finite(other), bytes=list(other.data)) for other in one.top
                ],
            )
            for one in positions
        ]
    )


def render_completion_logprobs(positions: Sequence[TokenLogprob], offset: int) -> CompletionLogprobs:
    """As a plain continuation shows them.

    Args:
        positions: Of consecutive tokens.
        offset: Characters of the answer before the first of them.
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
    return IMPOSSIBLE if one.logprob is None else one.logprob
