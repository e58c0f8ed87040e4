"""Log-probabilities of tokens from vLLM's form to the seam's, with the bytes that each token stands for."""

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.base import CandidateToken, TokenLogprob
from adapters.text.output.detokenizer import Spelling


class Likelihoods:
    """Translates for one tokenizer."""

    def __init__(self, spelling: Spelling) -> None:
        """Translates by the vocabulary's bytes."""
        self._data = spelling.data

    def position(self, token: int, given: Mapping[int, Any] | None, wanted: int) -> TokenLogprob:
        """One place of a text.

        Args:
            token: That stands there.
            given: vLLM's logprobs of this place: `wanted` or one more; None where nothing precedes it.
            wanted: How many of the likeliest to name.
        """
        if given is None:
            return TokenLogprob(self._likelihood(token, None))
        ranked = sorted(given.items(), key=lambda item: -item[1].logprob)
        top = tuple(self._likelihood(other, entry.logprob) for other, entry in ranked[:wanted])
        return TokenLogprob(self._likelihood(token, given[token].logprob), top)

    def positions(self, tokens: Sequence[int], given: Sequence[Any] | None, wanted: int) -> tuple[TokenLogprob, ...]:
        """Of consecutive places."""
        return tuple(self.position(token, one, wanted) for token, one in zip(tokens, given or (), strict=False))

    def _likelihood(self, token: int, logprob: float | None) -> CandidateToken:
        data = self._data(token)
        # JSON has no infinity; OpenAI writes -9999.0 for what is next to impossible.
        return CandidateToken(data.decode(errors="replace"), data, None if logprob is None else max(logprob, -9999.0))
