"""The starter's image model: a tiny, untrained Stable Diffusion XL.

All sizes stand in the functions that make the parts. Its native size is 128x128 pixels.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from starter.words import clip_tokenizer

SEED = 18780615
TEXT_WIDTH = 32
"""Width of each text encoder; the UNet reads both side by side."""
LATENT_CHANNELS = 8
TIME_WIDTH = 8
"""Width of each of SDXL's six size numbers (original size, crop, target size) once embedded."""

CARD = """# Starter image model: UNTRAINED

`StableDiffusionXLPipeline`, built by `python -m starter.build image` with seed {seed}. It draws coloured noise:
it has learnt nothing. It is here so that the whole path runs.

- Native size 128x128 pixels; any multiple of 8 works.
- UNet: {unet:,} parameters, 3 levels (32, 32, 48 channels), SDXL's `text_time` embedding.
- Autoencoder: {vae:,} parameters, 8x downsampling, 4 latent channels.
- Two CLIP text encoders of width {width}, 2 layers each, {vocabulary} tokens: {text:,} parameters.
- Euler scheduler with SDXL's noise schedule. float16 safetensors.
- License: Apache-2.0, as this repository.
"""


def text_config(tokenizer: CLIPTokenizer, activation: str) -> CLIPTextConfig:
    """Sizes of a text encoder.

    Args:
        tokenizer: Whose tokens it reads.
        activation: SDXL's first encoder has "quick_gelu", its second "gelu".
    """
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        hidden_act=activation,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def unet() -> UNet2DConditionModel:
    """The denoiser: float32 latents [batch, 4, height / 8, width / 8] to noise of the same shape."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 32, 48),
        layers_per_block=1,
        transformer_layers_per_block=(1, 1, 1),
        attention_head_dim=(1, 1, 2),
        norm_num_groups=16,
        cross_attention_dim=2 * TEXT_WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=TEXT_WIDTH + 6 * TIME_WIDTH,
    )


def vae() -> AutoencoderKL:
    """The autoencoder: pixels [batch, 3, height, width] of -1..1 to latents of an eighth of each side, and back."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=LATENT_CHANNELS,
        mid_block_add_attention=False,
        sample_size=128,
        scaling_factor=0.13025,
        force_upcast=True,
    )


def scheduler() -> EulerDiscreteScheduler:
    """SDXL's noise schedule (https://arxiv.org/abs/2307.01952, section 2; values of its published checkpoint)."""
    return EulerDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
    )


def build(folder: Path) -> None:
    """Writes the checkpoint into an empty folder."""
    first, second = clip_tokenizer("<|endoftext|>"), clip_tokenizer("!")
    torch.manual_seed(SEED)
    pipeline = StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config(first, "quick_gelu")),
        text_encoder_2=CLIPTextModelWithProjection(text_config(second, "gelu")),
        tokenizer=first,
        tokenizer_2=second,
        unet=unet(),
        scheduler=scheduler(),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        part.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    text = (pipeline.text_encoder, pipeline.text_encoder_2)
    card = CARD.format(
        seed=SEED,
        unet=pipeline.unet.num_parameters(),
        vae=pipeline.vae.num_parameters(),
        width=TEXT_WIDTH,
        vocabulary=len(first),
        text=sum(encoder.num_parameters() for encoder in text),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
