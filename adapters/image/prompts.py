"""Prompts: any length for Stable Diffusion XL, checked against the limit for all others.

SDXL's text encoders read 77 tokens, two of them markers, and diffusers silently truncates the rest. Here a longer
prompt is encoded in windows of 75 tokens, which are concatenated: the UNet's cross-attention accepts any number of
tokens. A prompt of one window is encoded exactly as in diffusers.
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
"""Maximum number of windows of 75 tokens: about 900 words."""
_WINDOW = 75


class Embedded(NamedTuple):
    """A prompt encoded for the UNet."""

    tokens: "torch.Tensor"
    """[1, 77 * windows, width], both encoders side by side."""
    pooled: "torch.Tensor"
    """[1, width of the second encoder]: the first window as one vector."""


def embed(pipeline: "StableDiffusionXLPipeline", prompt: str, negative_prompt: str) -> tuple[Embedded, Embedded]:
    """The prompt and the negative prompt, encoded with the same number of windows.

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
    """Pairs of tokenizer and text encoder; the refiner has the second pair only."""
    pairs = ((pipeline.tokenizer, pipeline.text_encoder), (pipeline.tokenizer_2, pipeline.text_encoder_2))
    return tuple(pair for pair in pairs if pair[1] is not None)


def _tokens(tokenizer: Any, prompt: str) -> list[int]:
    """All tokens, without begin and end markers."""
    return tokenizer(prompt, add_special_tokens=False).input_ids


def count_windows(tokenizers: Sequence[Any], param: str, prompt: str) -> int:
    """The number of windows of a prompt, at least one.

    Raises:
        UnsupportedOption: There are more than `MAX_WINDOWS`; the error names `param`.
    """
    count = max(len(_tokens(tokenizer, prompt)) for tokenizer in tokenizers)
    if count > MAX_WINDOWS * _WINDOW:
        raise UnsupportedOption(
            f"{param} has {count} tokens; at most {MAX_WINDOWS * _WINDOW} are allowed.", param=param
        )
    return max(1, -(-count // _WINDOW))


class PromptLengths:
    """Counts prompts' tokens with copies of a pipeline's tokenizers, so any thread may call it at any time."""

    def __init__(self, pipeline: Any, limits: Mapping[str, int], *, windows: bool) -> None:
        """Copies the pipeline's tokenizers.

        Args:
            pipeline: In memory.
            limits: Maximum tokens of a prompt, by the tokenizer's name.
            windows: Whether prompts are encoded in windows, as for Stable Diffusion XL.
        """
        self._tokenizers = [(deepcopy(pipeline.components[name]), limit) for name, limit in limits.items()]
        self._windows = windows
        self._lock = Lock()

    def key(self, prompt: str, negative_prompt: str) -> tuple[int, ...]:
        """The prompts' lengths; they must be equal for prompts that share a batch.

        Raises:
            UnsupportedOption: A prompt is longer than the model's limit.
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
        # With several encoders, one must read the whole prompt; the others may truncate it, by design.
        if counts and all(count > limit for count, limit in zip(counts, limits, strict=True)):
            raise UnsupportedOption(
                f"{param} has {max(counts)} tokens; at most {max(limits)} are allowed.", param=param
            )
        return counts


def _named(prompt: str, negative_prompt: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("prompt", prompt), ("negative_prompt", negative_prompt)


def _ids(tokenizer: Any, prompt: str) -> Any:
    """Token ids with markers, or within the chat template if the text encoder is a chat model."""
    if getattr(tokenizer, "chat_template", None):
        messages = [{"role": "user", "content": prompt}]
        return tokenizer(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)).input_ids
    return tokenizer(prompt).input_ids


def _embed(pipeline: "StableDiffusionXLPipeline", prompt: str, windows: int) -> Embedded:
    import torch

    hidden: list[torch.Tensor] = []
    pooled = torch.empty(0)
    for tokenizer, encoder in _encoders(pipeline):
        ids = _tokens(tokenizer, prompt)
        rows = [ids[start : start + _WINDOW] for start in range(0, windows * _WINDOW, _WINDOW)]
        rows = [
            [tokenizer.bos_token_id, *row, tokenizer.eos_token_id] + [tokenizer.pad_token_id] * (_WINDOW - len(row))
            for row in rows
        ]
        with torch.no_grad():
            encoded = encoder(torch.tensor(rows, device=encoder.device), output_hidden_states=True)
        hidden.append(encoded.hidden_states[-2].flatten(0, 1))  # SDXL uses the penultimate layer.
        pooled = encoded[0][:1]  # SDXL uses that of the second encoder, which comes last.
    return Embedded(torch.cat(hidden, dim=-1)[None], pooled)
