"""Log-probabilities of tokens from vLLM's form to the seam's, with the bytes that each token stands for."""

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.base import Likelihood, TokenLogprob


def _byte_alphabet() -> dict[str, int]:
    """The characters by which byte-level BPE vocabularies write bytes: printable ones are themselves.

    Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), its published encoder.
    """
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}


_ALPHABET = _byte_alphabet()


class Likelihoods:
    """Translates for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        """Finds out how the tokenizer's vocabulary writes bytes."""
        self._tokenizer = tokenizer
        self._added = {index: token.content for index, token in tokenizer.added_tokens_decoder.items()}
        self._byte_level = (
            tokenizer.convert_ids_to_tokens(tokenizer.encode(" a", add_special_tokens=False))[0][0] == "Ġ"
        )

    def data(self, token: int) -> bytes:
        """The bytes of a token; none for an id beyond the vocabulary."""
        if token in self._added:
            return self._added[token].encode()
        piece: str | None = self._tokenizer.convert_ids_to_tokens(token)
        if piece is None:
            return b""
        if self._byte_level:
            return bytes(_ALPHABET[character] for character in piece if character in _ALPHABET)
        if len(piece) == 6 and piece.startswith("<0x"):  # How SentencePiece writes a byte that is no character.
            return bytes([int(piece[3:5], 16)])
        return piece.replace("▁", " ").encode()

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

    def _likelihood(self, token: int, logprob: float | None) -> Likelihood:
        data = self.data(token)
        # JSON has no infinity; OpenAI writes -9999.0 for what is next to impossible.
        return Likelihood(data.decode(errors="replace"), data, None if logprob is None else max(logprob, -9999.0))
