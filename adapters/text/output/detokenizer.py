"""Token ids to bytes, and to text while tokens arrive."""

import codecs
from collections.abc import Callable, Sequence
from typing import Any

from adapters.engines.byte_level import BYTE_OF_CHARACTER

_PROBE = "Hello,  world!\n\t# Größe 你好 🦊 {'a': [1, 2]} ,. !"


class Detokenizer:
    """Detokenizes for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        """Finds out how the vocabulary writes bytes, and whether joining them gives the tokenizer's own text."""
        self._tokenizer = tokenizer
        self._added = {index: token.content for index, token in tokenizer.added_tokens_decoder.items()}
        self._special = frozenset(index for index, token in tokenizer.added_tokens_decoder.items() if token.special)
        self._byte_level = (
            tokenizer.convert_ids_to_tokens(tokenizer.encode(" a", add_special_tokens=False))[0][0] == "Ġ"
        )
        self._known: dict[int, bytes] = {}
        tokens: list[int] = tokenizer.encode(_PROBE, add_special_tokens=False)
        self.exact: bool = self._byte_level and self.reader()(tokens) == tokenizer.decode(tokens) == _PROBE
        """Whether a text is the bytes of its tokens, joined."""

    def data(self, token: int) -> bytes:
        """The bytes of a token; empty for an id beyond the vocabulary."""
        if (found := self._known.get(token)) is None:
            found = self._known[token] = self._look_up(token)
        return found

    def reader(self) -> Callable[[Sequence[int]], str]:
        """A function that turns the tokens of one answer into text as they arrive, without control tokens.

        Bytes of an incomplete character are held back; if it is never completed, U+FFFD replaces them.
        """
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        data, special = self.data, self._special

        def read(tokens: Sequence[int]) -> str:
            return "".join([decode(data(token)) for token in tokens if token not in special])

        return read

    def _look_up(self, token: int) -> bytes:
        if token in self._added:
            return self._added[token].encode()
        text: str | None = self._tokenizer.convert_ids_to_tokens(token)
        if text is None:
            return b""
        if self._byte_level:
            return bytes(BYTE_OF_CHARACTER[character] for character in text if character in BYTE_OF_CHARACTER)
        if len(text) == 6 and text.startswith("<0x"):  # how SentencePiece writes a byte that is not a character
            return bytes([int(text[3:5], 16)])
        return text.replace("▁", " ").encode()
