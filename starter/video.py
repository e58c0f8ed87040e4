"""The starter's video model: a tiny LTX-Video.

All sizes stand in the functions that make the parts. Its native size is 25 frames of 128x128 pixels. It loads as
`LTXConditionPipeline`, which takes images for any of its frames.
"""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLLTXVideo,
    FlowMatchEulerDiscreteScheduler,
    LTXConditionPipeline,
    LTXVideoTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from starter.words import t5_tokenizer

SEED = 18800504
TEXT_WIDTH = 64
LATENT_CHANNELS = 64

CARD = """# Starter video model: UNTRAINED

`LTXConditionPipeline`, built by `python -m starter.build video` with seed {seed}. It films coloured noise:
it has learnt nothing. `python -m starter.training` trains it (docs/starter.md).

{sizes}
"""
SIZES = """\
- Native size 25 frames of 128x128 pixels; sides are multiples of 32, lengths are 4k + 1 frames.
- Transformer: {transformer:,} parameters, 6 layers of width 128.
- Autoencoder: {vae:,} parameters, 16x downsampling in space and 4x in time, {channels} latent channels.
- T5 encoder: {text:,} parameters, 2 layers of width {width}, {vocabulary} tokens (words, else single characters).
- Flow matching, Euler scheduler. float16 safetensors.
- License: Apache-2.0, as this repository."""


def text_config(tokenizer: T5Tokenizer) -> T5Config:
    """Sizes of the text encoder."""
    return T5Config(
        vocab_size=len(tokenizer),
        d_model=TEXT_WIDTH,
        d_kv=16,
        d_ff=2 * TEXT_WIDTH,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def transformer() -> LTXVideoTransformer3DModel:
    """The denoiser: latents [batch, frames * height * width, channels] to velocities of the same shape."""
    return LTXVideoTransformer3DModel(
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_attention_heads=4,
        attention_head_dim=32,
        cross_attention_dim=128,
        num_layers=6,
        caption_channels=TEXT_WIDTH,
    )


def vae() -> AutoencoderKLLTXVideo:
    """The autoencoder: pixels [batch, 3, 4k + 1, height, width] of -1..1 to latents [batch, 64, k + 1, ..., ...].

    A latent stands for 16 pixels a side and 4 frames, not for 32 and 8 as in LTX-Video: in so short a training larger
    ones stay a blur, and the last frame of a clip, which shares its latent, most of all (docs/starter.md).
    """
    return AutoencoderKLLTXVideo(  # The plan of LTX-Video 0.9.5, with fewer layers and channels.
        latent_channels=LATENT_CHANNELS,
        patch_size=4,
        block_out_channels=(32, 64, 128),
        down_block_types=("LTXVideo095DownBlock3D",) * 2,
        layers_per_block=(1, 1, 1),
        spatio_temporal_scaling=(True, True),
        downsample_type=("spatiotemporal", "spatiotemporal"),
        decoder_block_out_channels=(64, 128),
        decoder_layers_per_block=(1, 1, 1),
        decoder_spatio_temporal_scaling=(True, True),
        decoder_inject_noise=(False, False, False),
        upsample_residual=(True, True),
        upsample_factor=(2, 2),
        timestep_conditioning=False,
        spatial_compression_ratio=16,
        temporal_compression_ratio=4,
    )


def text_encoder(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """Prompts to [batch, tokens, width]."""
    return T5EncoderModel(text_config(tokenizer))


def assemble(
    denoiser: LTXVideoTransformer3DModel, autoencoder: AutoencoderKLLTXVideo, text: T5EncoderModel
) -> LTXConditionPipeline:
    """The pipeline of these parts."""
    return LTXConditionPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder,
        text_encoder=text,
        tokenizer=t5_tokenizer(),
        transformer=denoiser,
    )


def sizes(pipeline: LTXConditionPipeline) -> str:
    """The model card's list of sizes."""
    return SIZES.format(
        transformer=pipeline.transformer.num_parameters(),
        vae=pipeline.vae.num_parameters(),
        channels=LATENT_CHANNELS,
        text=pipeline.text_encoder.num_parameters(),
        width=TEXT_WIDTH,
        vocabulary=len(pipeline.tokenizer),
    )


def save(pipeline: LTXConditionPipeline, folder: Path, card: str) -> None:
    """Writes the checkpoint, in float16, and its card."""
    for part in (pipeline.transformer, pipeline.vae, pipeline.text_encoder):
        part.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").write_text(card, encoding="utf-8")


def build(folder: Path) -> None:
    """Writes an untrained checkpoint into an empty folder."""
    torch.manual_seed(SEED)
    pipeline = assemble(transformer(), vae(), text_encoder(t5_tokenizer()))
    save(pipeline, folder, CARD.format(seed=SEED, sizes=sizes(pipeline)))
