"""The bytes that each token of a vocabulary stands for, and text from them as tokens come."""

import codecs
from collections.abc import Callable, Sequence
from typing import Any


def _byte_alphabet() -> dict[str, int]:
    """The characters by which byte-level BPE vocabularies write bytes: printable ones are themselves.

    Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), its published encoder.
    """
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}


_ALPHABET = _byte_alphabet()
_PROBE = "Hello,  world!\n\t# Größe 你好 🦊 {'a': [1, 2]} ,. !"


class Spelling:
    """Of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        """Finds out how the vocabulary writes bytes, and tries whether they make up the tokenizer's own text."""
        self._tokenizer = tokenizer
        self._added = {index: token.content for index, token in tokenizer.added_tokens_decoder.items()}
        self._special = frozenset(index for index, token in tokenizer.added_tokens_decoder.items() if token.special)
        self._byte_level = (
            tokenizer.convert_ids_to_tokens(tokenizer.encode(" a", add_special_tokens=False))[0][0] == "Ġ"
        )
        self._known: dict[int, bytes] = {}
        tokens: list[int] = tokenizer.encode(_PROBE, add_special_tokens=False)
        self.exact: bool = self._byte_level and self.reader()(tokens) == tokenizer.decode(tokens) == _PROBE
        """Whether a text is the bytes of its tokens, one after the other."""

    def data(self, token: int) -> bytes:
        """The bytes of a token; none for an id beyond the vocabulary."""
        if (found := self._known.get(token)) is None:
            found = self._known[token] = self._look_up(token)
        return found

    def reader(self) -> Callable[[Sequence[int]], str]:
        """What makes text of the tokens of one answer as they come, control tokens left out.

        Bytes of a character that is not whole yet are held back; where they never become one, U+FFFD stands for them.
        """
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        data, special = self.data, self._special

        def read(tokens: Sequence[int]) -> str:
            return "".join([decode(data(token)) for token in tokens if token not in special])

        return read

    def _look_up(self, token: int) -> bytes:
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
