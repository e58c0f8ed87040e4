"""Token ids of texts, from a cache where a piece between two control tokens was read before.

A conversation comes back with every turn, one message longer; reading it anew costs about a millisecond for each
thousand tokens. No token of a byte-level vocabulary reaches across a control token, so what lies between them is read
apart.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

MAX_BYTES = 32 * 2**20
"""Of cached texts and their ids, roughly."""
FEW = 8
_PROBES = ("Hello, world.\n", " two  spaces ", "\n\n# Größe\t你好 🦊\n", '{"a": [1, 2]}', "")


class Pieces:
    """The cache of one tokenizer. For any thread."""

    def __init__(self, tokenizer: Any, max_bytes: int = MAX_BYTES) -> None:
        """Tries whether this tokenizer reads pieces as it reads the whole; if not, nothing is cached."""
        self._tokenizer = tokenizer
        # The tokenizer's own call sets up padding and truncation each time, which costs more than short texts take, and
        # is not for two threads at once.
        self._fast: Any = getattr(tokenizer, "backend_tokenizer", None)
        self._lock = Lock()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._cache: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        special = sorted((token.content for token in tokenizer.added_tokens_decoder.values() if token.special), key=len)
        self._split = re.compile("(" + "|".join(map(re.escape, reversed(special))) + ")") if special else None
        self._ids = {text: tokenizer.convert_tokens_to_ids(text) for text in special}
        if self._split is not None and not self._reads_alike(special):
            self._split = None

    def encode(self, texts: Sequence[str]) -> list[int]:
        """The ids of texts that are to be read apart, one after the other."""
        if self._split is None:
            return [token for ids in self._read([text for text in texts if text]) for token in ids]
        pieces = [piece for text in texts for piece in self._split.split(text) if piece]
        known: dict[str, Sequence[int]] = {}
        with self._lock:
            for piece in pieces:
                if (special := self._ids.get(piece)) is not None:
                    known[piece] = (special,)
                elif piece in self._cache:
                    self._cache.move_to_end(piece)
                    known[piece] = self._cache[piece]
        new = list(dict.fromkeys(piece for piece in pieces if piece not in known))
        fresh = dict(zip(new, map(tuple, self._read(new)), strict=True))
        known |= fresh
        if fresh:
            with self._lock:
                self._keep(fresh)
        return [token for piece in pieces for token in known[piece]]

    def _keep(self, fresh: dict[str, tuple[int, ...]]) -> None:
        for piece, ids in fresh.items():
            if piece in self._cache:  # another thread was faster
                continue
            self._cache[piece] = ids
            self._bytes += _weight(piece, ids)
        while self._bytes > self._max_bytes:
            self._bytes -= _weight(*self._cache.popitem(last=False))

    def _read(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        if self._fast is None:
            return self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        # "Fast" is without the places of tokens in the text. A batch of more than one wakes a pool of threads, which
        # costs more than a few texts take.
        batches = [[text] for text in texts] if len(texts) <= FEW else [texts]
        read = self._fast.encode_batch_fast
        return [one.ids for batch in batches for one in read(batch, add_special_tokens=False)]

    def _reads_alike(self, special: Sequence[str]) -> bool:
        whole = "".join(mark + probe for mark in special[:8] for probe in _PROBES)
        plain = self._tokenizer([whole], add_special_tokens=False)["input_ids"][0]
        return self.encode([whole]) == plain == self.encode([whole])


def _weight(piece: str, ids: tuple[int, ...]) -> int:
    return 4 * len(piece) + 8 * len(ids) + 200
