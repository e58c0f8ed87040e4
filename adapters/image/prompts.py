"""Prompts: of any length for Stable Diffusion XL, and counted for all others, which cut off without a word.

SDXL's text encoders read 77 tokens at once, two of them markers, and diffusers cuts off the rest. Here a longer prompt
is read 75 tokens at a time and the pieces are laid end to end: the UNet's cross-attention takes any number of them. A
prompt that fits gives exactly what diffusers makes of it.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from adapters.errors import UnsupportedOption

if TYPE_CHECKING:
    import torch
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

MAX_WINDOWS = 16
"""Of 75 tokens: about 900 words."""
_WINDOW = 75


class Embedded(NamedTuple):
    """A prompt as the UNet reads it."""

    tokens: "torch.Tensor"
    """[1, 77 * windows, width], both encoders side by side."""
    pooled: "torch.Tensor"
    """[1, width of the second encoder]: the first window as one vector."""


def embed(pipeline: "StableDiffusionXLPipeline", prompt: str, negative_prompt: str) -> tuple[Embedded, Embedded]:
    """The prompt and what is not wanted, of equal length.

    Raises:
        UnsupportedOption: One has more than 1,200 tokens.
    """
    tokenizers = [tokenizer for tokenizer, _ in _encoders(pipeline)]
    windows = max(count_windows(tokenizers, param, text) for param, text in _named(prompt, negative_prompt))
    wanted = _embed(pipeline, prompt, windows)
    unwanted = _embed(pipeline, negative_prompt, windows)
    if not negative_prompt and pipeline.config["force_zeros_for_empty_prompt"]:
        unwanted = Embedded(
            unwanted.tokens.new_zeros(wanted.tokens.shape), unwanted.pooled.new_zeros(1, 1).expand_as(wanted.pooled)
        )
    return wanted, unwanted


def _encoders(pipeline: "StableDiffusionXLPipeline") -> tuple[tuple[Any, Any], ...]:
    """Both; the refiner has the second alone."""
    pairs = ((pipeline.tokenizer, pipeline.text_encoder), (pipeline.tokenizer_2, pipeline.text_encoder_2))
    return tuple(pair for pair in pairs if pair[1] is not None)


def _tokens(tokenizer: Any, prompt: str) -> list[int]:
    """All tokens, without markers."""
    return tokenizer(prompt, add_special_tokens=False).input_ids


def count_windows(tokenizers: Sequence[Any], param: str, prompt: str) -> int:
    """How many windows a prompt takes, at least one.

    Raises:
        UnsupportedOption: Naming `param`: more than `MAX_WINDOWS`.
    """
    count = max(len(_tokens(tokenizer, prompt)) for tokenizer in tokenizers)
    if count > MAX_WINDOWS * _WINDOW:
        raise UnsupportedOption(f"{param} has {count} tokens; at most {MAX_WINDOWS * _WINDOW} are read.", param=param)
    return max(1, -(-count // _WINDOW))


class Lengths:
    """Counts a pipeline's prompts, in any thread and while the pipeline itself works: it has tokenizers of its own."""

    def __init__(self, pipeline: Any, limits: Mapping[str, int], *, windows: bool) -> None:
        """Copies the pipeline's tokenizers.

        Args:
            pipeline: In memory.
            limits: Tokens that are read of a prompt, by the tokenizer's name.
            windows: Whether it reads prompts as Stable Diffusion XL does here.
        """
        self._tokenizers = [(deepcopy(pipeline.components[name]), limit) for name, limit in limits.items()]
        self._windows = windows
        self._lock = Lock()

    def key(self, prompt: str, negative_prompt: str) -> tuple[int, ...]:
        """What must be equal of prompts that are to share a batch: their lengths, as far as the model sees them.

        Raises:
            UnsupportedOption: One is longer than the model reads.
        """
        named = _named(prompt, negative_prompt)
        with self._lock:
            if self._windows:
                tokenizers = [tokenizer for tokenizer, _ in self._tokenizers]
                return (max(count_windows(tokenizers, param, text) for param, text in named),)
            return tuple(count for param, text in named for count in self._counts(param, text))

    def _counts(self, param: str, prompt: str) -> list[int]:
        counts = [len(_ids(tokenizer, prompt)) for tokenizer, _ in self._tokenizers]
        limits = [limit for _, limit in self._tokenizers]
        # What one encoder sees whole may be cut off for the others: so pipelines of several are meant to be used.
        if counts and all(count > limit for count, limit in zip(counts, limits, strict=True)):
            raise UnsupportedOption(f"{param} has {max(counts)} tokens; at most {max(limits)} are read.", param=param)
        return counts


def _named(prompt: str, negative_prompt: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("prompt", prompt), ("negative_prompt", negative_prompt)


def _ids(tokenizer: Any, prompt: str) -> Any:
    """With the markers, or within the conversation that models of chat are asked in."""
    if getattr(tokenizer, "chat_template", None):
        messages = [{"role": "user", "content": prompt}]
        return tokenizer(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)).input_ids
    return tokenizer(prompt).input_ids


def _embed(pipeline: "StableDiffusionXLPipeline", prompt: str, windows: int) -> Embedded:
    import torch

    parts: list[torch.Tensor] = []
    pooled = torch.empty(0)
    for tokenizer, encoder in _encoders(pipeline):
        ids = _tokens(tokenizer, prompt)
        rows = [ids[start : start + _WINDOW] for start in range(0, windows * _WINDOW, _WINDOW)]
        rows = [
            [tokenizer.bos_token_id, *row, tokenizer.eos_token_id] + [tokenizer.pad_token_id] * (_WINDOW - len(row))
            for row in rows
        ]
        with torch.no_grad():
            read = encoder(torch.tensor(rows, device=encoder.device), output_hidden_states=True)
        parts.append(read.hidden_states[-2].flatten(0, 1))  # SDXL reads the last layer but one.
        pooled = read[0][:1]  # The second encoder's comes last, and is the one that SDXL uses.
    return Embedded(torch.cat(parts, dim=-1)[None], pooled)
