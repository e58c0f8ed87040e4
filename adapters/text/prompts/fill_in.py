"""Fill-in-the-middle prompts, for models whose vocabulary has the tokens for it."""

from collections.abc import Sequence
from typing import Any

from adapters.errors import UnsupportedOption

FORMS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
)
"""The tokens before the prefix, before the suffix and before the text to be generated: of Qwen's and Gemma's coders, of
StarCoder, of SantaCoder, of DeepSeek's coders and of Code Llama."""
_ENDS = (
    "<|fim_pad|>", "<|endoftext|>", "<|file_sep|>", "<|repo_name|>", "<fim_pad>", "<file_sep>", "▁<EOT>",
    "<|file_separator|>",
)  # fmt: skip
"""Further tokens with which such models end the text."""


class FillIn:
    """The tokens of one vocabulary."""

    def __init__(self, tokenizer: Any) -> None:
        """Looks for the tokens."""
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._form = next((form for form in FORMS if all(token in vocabulary for token in form)), None)
        self._ids = [vocabulary[token] for token in self._form or ()]
        self.ends = (*self._ids, *(vocabulary[token] for token in _ENDS if token in vocabulary))
        """Tokens that end the text: none of them may be part of it."""

    def prompt(self, prefix: Sequence[int], suffix: Sequence[int]) -> list[int]:
        """The prompt for the text between a prefix and a suffix.

        Raises:
            UnsupportedOption: The model has no such tokens.
        """
        if self._form is None:
            raise UnsupportedOption(
                "This model cannot fill in text before a suffix: its vocabulary has no such tokens. Leave suffix out.",
                param="suffix",
            )
        before, between, after = self._ids
        return [before, *prefix, between, *suffix, after]
