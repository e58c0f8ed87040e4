"""vLLM's log-probabilities as those of the contract, with the bytes of each token."""

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.base import CandidateToken, TokenLogprob
from adapters.text.output.detokenizer import Detokenizer


class Logprobs:
    """Converts for one tokenizer."""

    def __init__(self, detokenizer: Detokenizer) -> None:
        """Takes bytes from the detokenizer."""
        self._data = detokenizer.data

    def position(self, token: int, given: Mapping[int, Any] | None, count: int) -> TokenLogprob:
        """The log-probabilities at one position of a text.

        Args:
            token: The token at this position.
            given: vLLM's logprobs of this position: `count` of them or one more; None at the first position.
            count: How many of the most likely tokens to return.
        """
        if given is None:
            return TokenLogprob(self._candidate(token, None))
        ranked = sorted(given.items(), key=lambda item: -item[1].logprob)
        top = tuple(self._candidate(other, entry.logprob) for other, entry in ranked[:count])
        return TokenLogprob(self._candidate(token, given[token].logprob), top)

    def positions(self, tokens: Sequence[int], given: Sequence[Any] | None, count: int) -> tuple[TokenLogprob, ...]:
        """The log-probabilities at consecutive positions."""
        return tuple(self.position(token, one, count) for token, one in zip(tokens, given or (), strict=False))

    def _candidate(self, token: int, logprob: float | None) -> CandidateToken:
        data = self._data(token)
        # JSON has no infinity; OpenAI writes -9999.0 for a nearly impossible token.
        return CandidateToken(data.decode(errors="replace"), data, None if logprob is None else max(logprob, -9999.0))
