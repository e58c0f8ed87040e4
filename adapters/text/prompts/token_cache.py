"""Token ids of texts, cached by segment: the text between two control tokens.

A conversation comes again with every turn, one message longer; tokenizing all of it takes about a millisecond for each
thousand tokens. No token of a byte-level vocabulary spans a control token, so the segments can be tokenized separately.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

MAX_BYTES = 32 * 2**20
"""Approximate size of cached texts and their ids."""
MAX_SINGLE = 8
"""At most this many texts are tokenized one by one."""
_PROBES = ("Hello, world.\n", " two  spaces ", "\n\n# Größe\t你好 🦊\n", '{"a": [1, 2]}', "")


class TokenCache:
    """The cache of one tokenizer. Thread-safe."""

    def __init__(self, tokenizer: Any, max_bytes: int = MAX_BYTES) -> None:
        """Tests whether this tokenizer reads segments as it reads the whole text; if not, nothing is cached."""
        self._tokenizer = tokenizer
        # The tokenizer's own call sets up padding and truncation each time, which takes longer than short texts do, and
        # is not thread-safe.
        self._fast: Any = getattr(tokenizer, "backend_tokenizer", None)
        self._lock = Lock()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._cache: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        special = sorted((token.content for token in tokenizer.added_tokens_decoder.values() if token.special), key=len)
        self._split = re.compile("(" + "|".join(map(re.escape, reversed(special))) + ")") if special else None
        self._ids = {text: tokenizer.convert_tokens_to_ids(text) for text in special}
        if self._split is not None and not self._segments_match(special):
            self._split = None

    def encode(self, texts: Sequence[str]) -> list[int]:
        """The ids of texts that are tokenized separately, joined."""
        if self._split is None:
            return [token for ids in self._tokenize([text for text in texts if text]) for token in ids]
        segments = [segment for text in texts for segment in self._split.split(text) if segment]
        known: dict[str, Sequence[int]] = {}
        with self._lock:
            for segment in segments:
                if (special := self._ids.get(segment)) is not None:
                    known[segment] = (special,)
                elif segment in self._cache:
                    self._cache.move_to_end(segment)
                    known[segment] = self._cache[segment]
        new = list(dict.fromkeys(segment for segment in segments if segment not in known))
        fresh = dict(zip(new, map(tuple, self._tokenize(new)), strict=True))
        known |= fresh
        if fresh:
            with self._lock:
                self._keep(fresh)
        return [token for segment in segments for token in known[segment]]

    def encode_once(self, text: str) -> list[int]:
        """The ids of a text that is not cached."""
        (ids,) = self._tokenize([text])
        return ids

    def _keep(self, fresh: dict[str, tuple[int, ...]]) -> None:
        for segment, ids in fresh.items():
            if segment in self._cache:  # another thread has added it
                continue
            self._cache[segment] = ids
            self._bytes += _size(segment, ids)
        while self._bytes > self._max_bytes:
            self._bytes -= _size(*self._cache.popitem(last=False))

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        if self._fast is None:
            return self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        # "Fast" omits the offsets of tokens in the text. A batch of more than one text wakes a thread pool, which takes
        # longer than a few texts do.
        batches = [[text] for text in texts] if len(texts) <= MAX_SINGLE else [texts]
        encode = self._fast.encode_batch_fast
        return [one.ids for batch in batches for one in encode(batch, add_special_tokens=False)]

    def _segments_match(self, special: Sequence[str]) -> bool:
        whole = "".join(token + probe for token in special[:8] for probe in _PROBES)
        plain = self._tokenizer([whole], add_special_tokens=False)["input_ids"][0]
        return self.encode([whole]) == plain == self.encode([whole])


def _size(segment: str, ids: tuple[int, ...]) -> int:
    return 4 * len(segment) + 8 * len(ids) + 200
