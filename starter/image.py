"""The starter's image model: a tiny Stable Diffusion XL.

All sizes stand in the functions that make the parts. Its native size is 128x128 pixels.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from starter.words import clip_tokenizer

SEED = 18780615
TEXT_WIDTH = 64
"""Width of each text encoder; the UNet reads both side by side."""
LATENT_CHANNELS = 8
TIME_WIDTH = 8
"""Width of each of SDXL's six size numbers (original size, crop, target size) once embedded."""

CARD = """# Starter image model: UNTRAINED

`StableDiffusionXLPipeline`, built by `python -m starter.build image` with seed {seed}. It draws coloured noise:
it has learnt nothing. `python -m starter.training` trains it (docs/starter.md).

{sizes}
"""
SIZES = """\
- Native size 128x128 pixels; any multiple of 8 works.
- UNet: {unet:,} parameters, 3 levels (64, 96, 128 channels), SDXL's `text_time` embedding.
- Autoencoder: {vae:,} parameters, 8x downsampling, {latents} latent channels.
- Two CLIP text encoders of width {width}, 3 layers each, {vocabulary} tokens: {text:,} parameters.
- Euler scheduler, velocity prediction, cosine noise schedule. float16 safetensors.
- License: Apache-2.0, as this repository."""


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
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=77,
        hidden_act=activation,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def unet() -> UNet2DConditionModel:
    """The denoiser: float32 latents [batch, 8, height / 8, width / 8] to velocities of the same shape."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 96, 128),
        layers_per_block=1,
        transformer_layers_per_block=(1, 1, 1),
        attention_head_dim=(2, 3, 4),
        norm_num_groups=16,
        cross_attention_dim=2 * TEXT_WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=TEXT_WIDTH + 6 * TIME_WIDTH,
    )


def vae() -> AutoencoderKL:
    """The autoencoder: pixels [batch, 3, height, width] of -1..1 to latents of an eighth of each side, and back.

    No attention: a cell of 8 pixels is drawn from its neighbours alone, so any size works as well as the native one.
    """
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=LATENT_CHANNELS,
        mid_block_add_attention=False,
        sample_size=128,
        scaling_factor=1.0,  # starter.training.image_latents folds the scale into the weights.
        force_upcast=True,
    )


def scheduler() -> EulerDiscreteScheduler:
    """A cosine schedule that ends in pure noise, so that nights come out dark and snow bright.

    The cosine is of https://arxiv.org/abs/2102.09672, velocities of https://arxiv.org/abs/2202.00512, and why the last
    step must be pure noise, and be among those that are taken, of https://arxiv.org/abs/2305.08891.
    """
    return EulerDiscreteScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,  # Its last noise is 4,096 times the image, not 20,000: half precision holds it.
    )


def text_encoders() -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """SDXL's two: the last layer but one of both is read token by token, the second's projection as a whole."""
    first, second = tokenizers()
    return CLIPTextModel(text_config(first, "quick_gelu")), CLIPTextModelWithProjection(text_config(second, "gelu"))


def tokenizers() -> tuple[CLIPTokenizer, CLIPTokenizer]:
    """Of the two encoders."""
    return clip_tokenizer("<|endoftext|>"), clip_tokenizer("!")


def assemble(
    denoiser: UNet2DConditionModel, autoencoder: AutoencoderKL, texts: tuple[CLIPTextModel, CLIPTextModelWithProjection]
) -> StableDiffusionXLPipeline:
    """The pipeline of these parts."""
    first, second = tokenizers()
    return StableDiffusionXLPipeline(
        vae=autoencoder,
        text_encoder=texts[0],
        text_encoder_2=texts[1],
        tokenizer=first,
        tokenizer_2=second,
        unet=denoiser,
        scheduler=scheduler(),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def sizes(pipeline: StableDiffusionXLPipeline) -> str:
    """The model card's list of sizes."""
    return SIZES.format(
        unet=pipeline.unet.num_parameters(),
        vae=pipeline.vae.num_parameters(),
        latents=LATENT_CHANNELS,
        width=TEXT_WIDTH,
        vocabulary=len(pipeline.tokenizer),
        text=sum(encoder.num_parameters() for encoder in (pipeline.text_encoder, pipeline.text_encoder_2)),
    )


def save(pipeline: StableDiffusionXLPipeline, folder: Path, card: str) -> None:
    """Writes the checkpoint, in float16, and its card."""
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        part.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").write_text(card, encoding="utf-8")


def build(folder: Path) -> None:
    """Writes an untrained checkpoint into an empty folder."""
    torch.manual_seed(SEED)
    pipeline = assemble(unet(), vae(), text_encoders())
    save(pipeline, folder, CARD.format(seed=SEED, sizes=sizes(pipeline)))
