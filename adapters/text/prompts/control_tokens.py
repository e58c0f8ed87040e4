"""Escapes control tokens in users' text, which the tokenizer must read as ordinary text."""

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any


class ControlTokenEscaper:
    """Replaces control tokens in the texts of one request by placeholders, and splits rendered prompts at them."""

    def __init__(self, control: re.Pattern[str]) -> None:
        """Starts with no placeholders.

        Args:
            control: Matches control tokens.
        """
        self._control = control
        self._nonce = ""
        self._texts: list[str] = []

    def escape(self, text: str) -> str:
        """The text with placeholders for control tokens."""
        return self._control.sub(self._replace, text)

    def escape_all(self, value: Any) -> Any:
        """The JSON value with all its strings escaped, field names too."""
        if isinstance(value, str):
            return self.escape(value)
        if isinstance(value, Mapping):
            return {self.escape(str(name)): self.escape_all(item) for name, item in value.items()}
        if isinstance(value, Sequence):
            return [self.escape_all(item) for item in value]
        return value

    def _replace(self, match: re.Match[str]) -> str:
        self._nonce = self._nonce or secrets.token_hex(8)
        self._texts.append(match[0])
        return f"\ue000{self._nonce}-{len(self._texts) - 1}\ue001"

    def split(self, rendered: str) -> list[str]:
        """The rendered text in segments to be tokenized separately; joined, they are the original text.

        Each escaped control token becomes two segments, so that no segment holds it whole.
        """
        if not self._texts:
            return [rendered]
        segments = re.split(f"\ue000{self._nonce}-(\\d+)\ue001", rendered)
        for index in range(1, len(segments), 2):
            segments[index] = self._texts[int(segments[index])]
        return [half for at, text in enumerate(segments) for half in ((text[:1], text[1:]) if at % 2 else (text,))]
