"""Prompts of any length for Stable Diffusion XL.

Its text encoders read 77 tokens at once, two of them markers, and diffusers cuts off the rest. Here a longer prompt is
read 75 tokens at a time and the pieces are laid end to end: the UNet's cross-attention takes any number of them. A
prompt that fits gives exactly what diffusers makes of it.
"""

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
    windows = max(_windows(pipeline, "prompt", prompt), _windows(pipeline, "negative_prompt", negative_prompt))
    wanted = _embed(pipeline, prompt, windows)
    unwanted = _embed(pipeline, negative_prompt, windows)
    if not negative_prompt and pipeline.config["force_zeros_for_empty_prompt"]:
        unwanted = Embedded(
            unwanted.tokens.new_zeros(wanted.tokens.shape), unwanted.pooled.new_zeros(1, 1).expand_as(wanted.pooled)
        )
    return wanted, unwanted


def _encoders(pipeline: "StableDiffusionXLPipeline") -> tuple[tuple[Any, Any], ...]:
    return (pipeline.tokenizer, pipeline.text_encoder), (pipeline.tokenizer_2, pipeline.text_encoder_2)


def _tokens(tokenizer: Any, prompt: str) -> list[int]:
    """All tokens, without markers."""
    return tokenizer(prompt, add_special_tokens=False).input_ids


def _windows(pipeline: "StableDiffusionXLPipeline", param: str, prompt: str) -> int:
    count = max(len(_tokens(tokenizer, prompt)) for tokenizer, _ in _encoders(pipeline))
    if count > MAX_WINDOWS * _WINDOW:
        raise UnsupportedOption(f"{param} has {count} tokens; at most {MAX_WINDOWS * _WINDOW} are read.", param=param)
    return max(1, -(-count // _WINDOW))


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
