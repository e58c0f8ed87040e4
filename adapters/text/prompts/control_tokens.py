"""Users' text beside control tokens: what they write must never be taken for one."""

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any


class Quoted:
    """Users' text, in which control tokens are replaced by placeholders that no tokenizer knows."""

    def __init__(self, control: re.Pattern[str]) -> None:
        """Of one request.

        Args:
            control: Finds control tokens.
        """
        self._control = control
        self._nonce = ""
        self._texts: list[str] = []

    def quote(self, text: str) -> str:
        """The text without control tokens."""
        return self._control.sub(self._replace, text)

    def quote_all(self, value: Any) -> Any:
        """The JSON value with all its strings quoted, names of fields too."""
        if isinstance(value, str):
            return self.quote(value)
        if isinstance(value, Mapping):
            return {self.quote(str(name)): self.quote_all(item) for name, item in value.items()}
        if isinstance(value, Sequence):
            return [self.quote_all(item) for item in value]
        return value

    def _replace(self, match: re.Match[str]) -> str:
        self._nonce = self._nonce or secrets.token_hex(8)
        self._texts.append(match[0])
        return f"\ue000{self._nonce}-{len(self._texts) - 1}\ue001"

    def split(self, rendered: str) -> list[str]:
        """The rendered text in pieces that are to be tokenized apart; joined, they are the true text.

        Each control token comes as two pieces, so that no piece holds it whole.
        """
        if not self._texts:
            return [rendered]
        pieces = re.split(f"\ue000{self._nonce}-(\\d+)\ue001", rendered)
        for index in range(1, len(pieces), 2):
            pieces[index] = self._texts[int(pieces[index])]
        return [half for at, piece in enumerate(pieces) for half in ((piece[:1], piece[1:]) if at % 2 else (piece,))]
