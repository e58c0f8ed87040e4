"""Converts GGUF to safetensors: `python -m adapters.loader.gguf SRC.gguf DIR`, in a process of its own.

vLLM serves dense safetensors on CPU and GPU, so a quantized GGUF is unpacked once, when its model is fetched. Nothing
in the file is run: the weights are numbers, the tokenizer is a table, and the chat template is only copied. Lines
`progress STAGE FRACTION` go to stdout, for `adapters/loader/fetch.py`, which starts the conversion.
"""

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

CHAT_END = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>")
"""Tokens that end a turn or a text, in addition to the tokenizer's end-of-sequence token. Each stops generation."""


def progress(stage: str, fraction: float) -> None:
    """Reports the progress of the conversion to the parent process.

    Args:
        stage: One word.
        fraction: 0..1 of the whole conversion.
    """
    print(f"progress {stage} {fraction:.3f}", flush=True)


def convert(source: Path, target: Path) -> None:
    """Writes `source` as a directory that transformers and vLLM load: bf16 safetensors, config, tokenizer, template.

    Args:
        source: A GGUF file of a language model.
        target: A directory that does not exist yet, or is empty. It is complete when this returns; the caller then
            renames it.

    Raises:
        ValueError: The architecture is unknown to transformers, or the file has no tokenizer.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # A language model needs none of these, and their CUDA builds from PyPI fail with a CPU build of torch.
    for unwanted in ("torchvision", "torchaudio", "torchcodec"):
        sys.modules.setdefault(unwanted, None)  # pyright: ignore[reportArgumentType] - None: "there is no such module"
    import gguf
    import torch
    from tokenizers.normalizers import NFC
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # transformers opens the file three times (tokenizer, config, weights), and reading its tables takes five seconds.
    gguf.GGUFReader = cache(gguf.GGUFReader)  # pyright: ignore[reportAttributeAccessIssue]
    progress("tokenizer", 0.02)
    tokenizer = AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name)
    progress("weights", 0.1)
    model = AutoModelForCausalLM.from_pretrained(
        str(source.parent),
        gguf_file=source.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
        trust_remote_code=False,
    )
    progress("saving", 0.8)
    ends = [tokenizer.eos_token_id, *(_known(tokenizer, CHAT_END))]
    model.generation_config.eos_token_id = list(dict.fromkeys(e for e in ends if e is not None))
    tokenizer.model_max_length = model.config.max_position_embeddings
    if model.config.model_type.startswith("qwen"):
        # Qwen's tokenizer.json normalizes to NFC; GGUF has no field for that.
        tokenizer.backend_tokenizer.normalizer = NFC()
    model.save_pretrained(str(target), safe_serialization=True)
    tokenizer.save_pretrained(str(target))
    progress("done", 1.0)


def _known(tokenizer: Any, tokens: tuple[str, ...]) -> Iterator[int]:
    """Ids of the tokens that the vocabulary has."""
    vocabulary = tokenizer.get_vocab()
    return (vocabulary[token] for token in tokens if token in vocabulary)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
