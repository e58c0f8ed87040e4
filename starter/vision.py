"""The starter's vision model: a tiny LLaVA-OneVision (SigLIP tower, Qwen2 language model).

All sizes stand in `config`. vLLM serves the result: its heads are 64 wide (its CPU attention wants multiples of 32) and
its weights bear the names of the published checkpoints, which are not those that transformers 5 writes.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Qwen2Config,
    Qwen2Tokenizer,
    SiglipVisionConfig,
)

from starter.words import qwen2_tokenizer

SEED = 20260924
CONTEXT = 8192
"""Tokens; 32 images of 136 tokens each leave room for words."""
IMAGE_SIZE = 128
"""Pixels a side; every image is scaled to this and seen twice (as a whole and as its one tile)."""
SPECIAL = {"image_token": "<image>", "video_token": "<video>"}

CARD = """# Starter vision model: UNTRAINED

`LlavaOnevisionForConditionalGeneration`, built by `python -m starter.build vision` with seed {seed}. It reads
images and answers, but has learnt nothing: its words are noise and its probabilities near even.
`python -m starter.training` trains it (docs/starter.md).

{sizes}
"""
SIZES = """\
- Tower: SigLIP, {image_size}x{image_size} pixels in patches of 16, 3 layers of width 128, 2 heads.
  An image costs 136 tokens.
- Language model: Qwen2, 4 layers of width 128, 2 heads of 64, context {context}, {vocabulary} tokens.
- {parameters:,} parameters, bfloat16 safetensors, named as vLLM and the published checkpoints name them.
- License: Apache-2.0, as this repository."""

# ChatML, as Qwen2 speaks it. A message's content is a string or a list of parts.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'text' -%}
{{- part['text'] -}}
{%- elif part['type'] in ('image', 'image_url') -%}
{{- '<image>\\n' -}}
{%- elif part['type'] == 'video' -%}
{{- '<video>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def config(vocabulary: int, end_token: int, image_token: int, video_token: int) -> LlavaOnevisionConfig:
    """The model's sizes.

    Args:
        vocabulary: Number of tokens.
        end_token: Id of "<|im_end|>".
        image_token: Id of "<image>".
        video_token: Id of "<video>".
    """
    return LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=IMAGE_SIZE,
            patch_size=16,
            vision_use_head=False,
        ),
        text_config=Qwen2Config(
            vocab_size=vocabulary,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=end_token,
        ),
        image_token_index=image_token,
        video_token_index=video_token,
        image_grid_pinpoints=[[IMAGE_SIZE, IMAGE_SIZE]],
        vision_aspect_ratio="anyres_max_9",
        tie_word_embeddings=False,
    )


def published_name(name: str) -> str:
    """The name of a weight in published checkpoints, from its name in transformers 5.

    Examples:
        >>> published_name("model.vision_tower.embeddings.position_embedding.weight")
        'vision_tower.vision_model.embeddings.position_embedding.weight'
    """
    name = name.removeprefix("model.")
    if name.startswith("lm_head."):
        return "language_model." + name
    if name.startswith("language_model."):
        return name.replace("language_model.", "language_model.model.", 1)
    if name.startswith("vision_tower.") and not name.startswith("vision_tower.vision_model."):
        return name.replace("vision_tower.", "vision_tower.vision_model.", 1)
    return name


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_processors(folder: Path) -> None:
    """The processors' configurations, written by hand: their classes need torchvision, and this script does not."""
    pixels: dict[str, object] = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    }
    image = {
        "image_processor_type": "LlavaOnevisionImageProcessor",
        "do_pad": True,
        "image_grid_pinpoints": [[IMAGE_SIZE, IMAGE_SIZE]],
    }
    names = {
        "processor_class": "LlavaOnevisionProcessor",
        "num_image_tokens": (IMAGE_SIZE // 16) ** 2,
        "vision_feature_select_strategy": "full",
        "vision_aspect_ratio": "anyres_max_9",
        "image_token": SPECIAL["image_token"],
        "video_token": SPECIAL["video_token"],
    }
    common = {"processor_class": "LlavaOnevisionProcessor"}
    _write_json(folder / "preprocessor_config.json", {**pixels, **image, **common})
    video = {"video_processor_type": "LlavaOnevisionVideoProcessor"}
    _write_json(folder / "video_preprocessor_config.json", {**pixels, **video, **common})
    _write_json(folder / "processor_config.json", names)


def tokenizer() -> Qwen2Tokenizer:
    """The model's tokenizer, with its chat template."""
    made = qwen2_tokenizer(SPECIAL, CONTEXT)
    made.chat_template = CHAT_TEMPLATE
    return made


def model(words: Qwen2Tokenizer) -> LlavaOnevisionForConditionalGeneration:
    """The model, with weights by torch's chance."""
    ids = [words.convert_tokens_to_ids(token) for token in ("<|im_end|>", *SPECIAL.values())]
    return LlavaOnevisionForConditionalGeneration(config(len(words), *ids))


def save(made: LlavaOnevisionForConditionalGeneration, folder: Path) -> str:
    """Writes the checkpoint but its card, in bfloat16; returns the card's list of sizes."""
    words = tokenizer()
    words.save_pretrained(folder)
    weights = {published_name(name): tensor.to(torch.bfloat16) for name, tensor in made.state_dict().items()}
    save_file(dict(sorted(weights.items())), folder / "model.safetensors", metadata={"format": "pt"})
    made.config.architectures = ["LlavaOnevisionForConditionalGeneration"]
    made.config.dtype = torch.bfloat16
    made.config.save_pretrained(folder)
    end, pad = (words.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>"))
    _write_json(folder / "generation_config.json", {"eos_token_id": [end, pad], "pad_token_id": pad})
    _write_processors(folder)
    return SIZES.format(
        image_size=IMAGE_SIZE,
        context=CONTEXT,
        vocabulary=len(words),
        parameters=sum(weight.numel() for weight in weights.values()),
    )


def build(folder: Path) -> None:
    """Writes an untrained checkpoint into an empty folder."""
    torch.manual_seed(SEED)
    sizes = save(model(tokenizer()), folder)
    (folder / "README.md").write_text(CARD.format(seed=SEED, sizes=sizes), encoding="utf-8")
