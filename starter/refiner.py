"""The starter's refiner: a small one of Stable Diffusion XL's kind, for the last steps of the image model's images.

It takes over in latent space, so its autoencoder and its text encoder are the image model's own, byte for byte; its
denoiser has two levels where the image model's has three, for what is left to do is near at hand.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel
from transformers import CLIPTextModelWithProjection

from starter.image import LATENT_CHANNELS, TEXT_WIDTH, TIME_WIDTH, scheduler, text_encoders, tokenizers, vae

SEED = 18870611

CARD = """# Starter refiner: UNTRAINED

`StableDiffusionXLImg2ImgPipeline`, built by `python -m starter.build refiner` with seed {seed}. It refines nothing:
it has learnt nothing. `python -m starter.training` trains it (docs/starter.md).

{sizes}
"""
SIZES = """\
- UNet: {unet:,} parameters, 2 levels (64, 96 channels), SDXL's `text_time` embedding with a score of beauty.
- Autoencoder and text encoder: those of the image model, of which it has the second only.
- Euler scheduler, velocity prediction, cosine noise schedule. float16 safetensors.
- License: Apache-2.0, as this repository."""


def unet() -> UNet2DConditionModel:
    """The denoiser: float32 latents [batch, 8, height / 8, width / 8] with little noise to velocities."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 96),
        layers_per_block=1,
        transformer_layers_per_block=(1, 1),
        attention_head_dim=(2, 3),
        norm_num_groups=16,
        cross_attention_dim=TEXT_WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=TEXT_WIDTH + 5 * TIME_WIDTH,
    )


def assemble(
    denoiser: UNet2DConditionModel, autoencoder: AutoencoderKL, text: CLIPTextModelWithProjection
) -> StableDiffusionXLImg2ImgPipeline:
    """The pipeline of these parts; of SDXL's two text encoders it has the second."""
    return StableDiffusionXLImg2ImgPipeline(
        vae=autoencoder,
        text_encoder=None,  # pyright: ignore[reportArgumentType]
        text_encoder_2=text,
        tokenizer=None,  # pyright: ignore[reportArgumentType]
        tokenizer_2=tokenizers()[1],
        unet=denoiser,
        scheduler=scheduler(),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def sizes(pipeline: StableDiffusionXLImg2ImgPipeline) -> str:
    """The model card's list of sizes."""
    return SIZES.format(unet=pipeline.unet.num_parameters())


def save(pipeline: StableDiffusionXLImg2ImgPipeline, folder: Path, card: str) -> None:
    """Writes the checkpoint, in float16, and its card."""
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder_2):
        part.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").write_text(card, encoding="utf-8")


def build(folder: Path) -> None:
    """Writes an untrained checkpoint into an empty folder."""
    torch.manual_seed(SEED)
    pipeline = assemble(unet(), vae(), text_encoders()[1])
    save(pipeline, folder, CARD.format(seed=SEED, sizes=sizes(pipeline)))
