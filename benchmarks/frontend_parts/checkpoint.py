"""A language model of one small layer that speaks plain words for ever, so that serving costs more than computing.

Its tokenizer and chat template are a real model's. Its weights are made so that output does not depend on rounding or
on what else is in the batch: each word leads to the next one of a long random cycle by a wide margin, and only the
first word depends on the prompt. Servers that are given the same prompt must therefore give the same text, and no
stream ends before `max_tokens`.
"""

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

HIDDEN = 64
"""Also the size of the one attention head; vLLM's CPU attention wants a multiple of 32."""
STILL = HIDDEN // 2 - 1
"""The number of a head that rotary positions turn least."""
MAX_MODEL_LEN = 2048
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
WORD = re.compile("Ġ[a-z]{2,10}")
"""A space and letters, as byte-level tokenizers write them: always whole characters, so that each token is text."""


def words(tokenizer_path: Path) -> list[int]:
    """The tokens of the vocabulary that are plain words, shuffled, always the same way."""
    vocabulary = json.loads((tokenizer_path / "tokenizer.json").read_text())["model"]["vocab"]
    found = sorted(token for text, token in vocabulary.items() if WORD.fullmatch(text))
    random.Random(0).shuffle(found)
    return found


def build(tokenizer_path: Path, path: Path) -> None:
    """Writes the checkpoint, as bfloat16 safetensors of the Qwen2 class.

    Args:
        tokenizer_path: A model's directory, of which tokenizer, chat template and vocabulary are taken.
        path: An empty directory.
    """
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    source = json.loads((tokenizer_path / "config.json").read_text())
    for name in TOKENIZER_FILES:
        shutil.copy(tokenizer_path / name, path / name)
    config = Qwen2Config(
        vocab_size=source["vocab_size"],
        eos_token_id=source["eos_token_id"],
        bos_token_id=source["bos_token_id"],
        hidden_size=HIDDEN,
        intermediate_size=HIDDEN,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=2 * MAX_MODEL_LEN,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )
    torch.manual_seed(0)
    model: Any = Qwen2ForCausalLM(config)
    layer = model.model.layers[0]
    tokenizer: Any = AutoTokenizer.from_pretrained(path)
    frame = tokenizer.apply_chat_template([{"role": "user", "content": ""}], add_generation_prompt=True, tokenize=False)
    silent = set(tokenizer.encode(frame))
    cycle = [token for token in words(tokenizer_path) if token not in silent]
    every, attention = torch.tensor(cycle), layer.self_attn
    with torch.no_grad():
        embeddings = model.model.embed_tokens.weight
        embeddings[every] = known = torch.randn(len(cycle), HIDDEN)
        others = torch.ones(len(embeddings), dtype=torch.bool)
        others[every] = False
        embeddings[others] = known[torch.randint(len(cycle), (int(others.sum()),))]  # each that of some word
        embeddings[torch.tensor(sorted(silent))] = 0
        model.lm_head.weight.zero_()
        model.lm_head.weight[every.roll(-1)] = embeddings[every]
        layer.mlp.down_proj.weight.zero_()
        # Attention looks at that one token which comes first in an order of all tokens, and adds a little of it:
        # nothing beside a word, but all there is after what every prompt ends with.
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj):
            projection.weight.zero_()
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
            projection.bias.zero_()
        attention.q_proj.bias[STILL] = 20
        attention.k_proj.weight[STILL] = 40 * torch.nn.functional.normalize(torch.randn(HIDDEN), dim=0)
        attention.v_proj.weight.copy_(torch.eye(HIDDEN))
        attention.o_proj.weight.copy_(torch.eye(HIDDEN) / 10)
    model.to(torch.bfloat16).save_pretrained(path)
