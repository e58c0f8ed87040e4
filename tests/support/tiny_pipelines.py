"""Tiny checkpoints with random weights, of pipelines that the starter profile does not have; built once a test run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from support.servers import ROOT

STARTER = ROOT / "starter" / "checkpoints"


def build(kind: str, path: Path) -> Path:
    """A checkpoint of that kind in diffusers' layout; the same weights every time."""
    if not (path / "model_index.json").is_file():
        torch.manual_seed(7)
        BUILDERS[kind]().save_pretrained(path)
    return path


def clip(width: int = 32, *, projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = clip_tokenizer()  # its size changes with the starter world's vocabulary
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3,
        num_attention_heads=2, projection_dim=width, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(STARTER / "image" / "tokenizer")


def t5() -> tuple[Any, Any]:
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    tokenizer = T5Tokenizer.from_pretrained(STARTER / "video" / "tokenizer")
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return T5EncoderModel(config).eval(), tokenizer


def qwen_tokenizer() -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(STARTER / "vision")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer


def vae(latents: int, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    levels = 4
    return AutoencoderKL(
        block_out_channels=[8] * levels, down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels, layers_per_block=1, latent_channels=latents, norm_num_groups=4,
        sample_size=64, **more,
    )  # fmt: skip


def sd15() -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32, attention_head_dim=8, norm_num_groups=4,
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return StableDiffusionPipeline(
        vae(4), clip(), clip_tokenizer(), unet, scheduler, None, None, requires_safety_checker=False
    )


def flow(**more: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**more)


def sd3() -> Any:
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    encoder, tokenizer = t5()
    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=16, out_channels=16, num_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=64,
        pos_embed_max_size=32,
    )  # fmt: skip
    # The longest of the texts decides how wide they are all together; T5's has to be as wide.
    from transformers import T5EncoderModel

    config = encoder.config
    config.d_model = 64
    return StableDiffusion3Pipeline(
        transformer=transformer, scheduler=flow(shift=3.0), vae=vae(16, shift_factor=0.06, use_quant_conv=False,
        use_post_quant_conv=False), text_encoder=clip(projected=True), tokenizer=clip_tokenizer(),
        text_encoder_2=clip(projected=True), tokenizer_2=clip_tokenizer(), text_encoder_3=T5EncoderModel(config).eval(),
        tokenizer_3=tokenizer,
    )  # fmt: skip


def flux(guidance_embeds: bool = True) -> Any:
    from diffusers import FluxPipeline, FluxTransformer2DModel

    encoder, tokenizer = t5()
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, guidance_embeds=guidance_embeds, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    return FluxPipeline(
        flow(shift=3.0, use_dynamic_shifting=True), vae(4, shift_factor=0.11), clip(), clip_tokenizer(), encoder,
        tokenizer, transformer,
    )  # fmt: skip


def qwen() -> Any:
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = qwen_tokenizer()
    text = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "vocab_size": len(tokenizer),
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 4], "rope_theta": 10000.0},
    }  # fmt: skip
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, vocab_size=len(tokenizer))
    return QwenImagePipeline(
        flow(use_dynamic_shifting=True, shift=1.0),
        AutoencoderKLQwenImage(
            base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, latents_mean=[0.0, 0.1, -0.1, 0.2],
            latents_std=[1.0, 1.1, 0.9, 1.2],
        ),
        Qwen2_5_VLForConditionalGeneration(config).eval(),
        tokenizer,
        QwenImageTransformer2DModel(
            in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=32, axes_dims_rope=(4, 4, 8),
        ),
    )  # fmt: skip


def z_image() -> Any:
    from diffusers import ZImagePipeline, ZImageTransformer2DModel
    from transformers import Qwen3Config, Qwen3Model

    tokenizer = qwen_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16,
    )  # fmt: skip
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=32,
        axes_dims=[4, 4, 8], axes_lens=[1024, 64, 64],
    )  # fmt: skip
    return ZImagePipeline(flow(shift=3.0), vae(4, shift_factor=0.1), Qwen3Model(config).eval(), tokenizer, transformer)


def refiner() -> Any:
    """For the starter's image model: its autoencoder, its second text encoder, and a UNet of its own."""
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline, UNet2DConditionModel

    base = StableDiffusionXLPipeline.from_pretrained(STARTER / "image", local_files_only=True)
    width = base.text_encoder_2.config.hidden_size
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=8, out_channels=8, block_out_channels=(16, 32), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width, attention_head_dim=8, norm_num_groups=4, use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=base.text_encoder_2.config.projection_dim + 5 * 8,
    )  # fmt: skip
    return StableDiffusionXLImg2ImgPipeline(
        base.vae, None, base.text_encoder_2, None, base.tokenizer_2, unet, base.scheduler,
        requires_aesthetics_score=True, force_zeros_for_empty_prompt=False, add_watermarker=False,
    )  # fmt: skip


def wan_parts(**more: Any) -> dict[str, Any]:
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel

    encoder, tokenizer = t5()
    shape = {"in_channels": 4, "out_channels": 4, **more}
    return {
        "tokenizer": tokenizer,
        "text_encoder": encoder,
        "vae": AutoencoderKLWan(
            base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, latents_mean=[0.0] * 4, latents_std=[1.0] * 4
        ),
        "scheduler": UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
        ),
        "transformer": WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=12, text_dim=32, freq_dim=32, ffn_dim=32, num_layers=1, **shape
        ),
    }  # fmt: skip


def wan(*, expand_timesteps: bool = False) -> Any:
    from diffusers import WanPipeline

    return WanPipeline(**wan_parts(), expand_timesteps=expand_timesteps)


def wan_pictures(*, seen: bool, ends: bool = False) -> Any:
    """Wan that films from pictures: 2.1 sees them with CLIP, too, and its model of first and last frames sees both."""
    from diffusers import WanImageToVideoPipeline
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    # Beside the noisy latents go those of the pictures, and a mask of four channels: a frame each.
    shape: dict[str, Any] = {"in_channels": 4 + 4 + 4}
    if not seen:
        return WanImageToVideoPipeline(**wan_parts(**shape))
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    tokens = 1 + (28 // 14) ** 2
    shape |= {"image_dim": 16, "added_kv_proj_dim": 24, "pos_embed_seq_len": 2 * tokens if ends else None}
    size = {"height": 28, "width": 28}
    return WanImageToVideoPipeline(
        **wan_parts(**shape),
        image_encoder=CLIPVisionModel(config).eval(),
        image_processor=CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=size),
    )


def gemma_tokenizer() -> Any:
    """Letters, and bytes for the rest."""
    from transformers import GemmaTokenizer

    words = ["<pad>", "<eos>", "<bos>", "<unk>", "\u2581", *"abcdefghijklmnopqrstuvwxyz"]
    words += [f"<0x{byte:02X}>" for byte in range(256)]
    return GemmaTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[])


def gemma3(tokenizer: Any) -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "sliding_window": 64,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14,
    }  # fmt: skip
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return Gemma3ForConditionalGeneration(config).eval()


def ltx2() -> Any:
    """LTX-2.0 with its own rates: 8 frames and 32 x 32 pixels a latent, sound at 24 kHz."""
    from diffusers import (
        AutoencoderKLLTX2Audio,
        AutoencoderKLLTX2Video,
        LTX2Pipeline,
        LTX2VideoTransformer3DModel,
    )
    from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2Vocoder

    tokenizer = gemma_tokenizer()
    heads = {
        f"{kind}_connector_{name}": value for kind in ("video", "audio") for name, value in
        {"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 1, "num_learnable_registers": 16}.items()
    }  # fmt: skip
    return LTX2Pipeline(
        scheduler=flow(use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, shift_terminal=0.1),
        vae=AutoencoderKLLTX2Video(
            latent_channels=8, block_out_channels=(8, 16, 32, 64), decoder_block_out_channels=(8, 16, 32),
            layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 4, spatial_compression_ratio=32,
            temporal_compression_ratio=8,
        ),
        audio_vae=AutoencoderKLLTX2Audio(base_channels=32, ch_mult=(1, 1, 1), num_res_blocks=1, latent_channels=2),
        text_encoder=gemma3(tokenizer),
        tokenizer=tokenizer,
        connectors=LTX2TextConnectors(caption_channels=32, text_proj_in_factor=3, **heads),
        transformer=LTX2VideoTransformer3DModel(
            in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=16, cross_attention_dim=32,
            audio_in_channels=32, audio_out_channels=32, audio_num_attention_heads=2, audio_attention_head_dim=8,
            audio_cross_attention_dim=16, num_layers=2, caption_channels=32,
        ),
        vocoder=LTX2Vocoder(in_channels=128, hidden_channels=32, resnet_kernel_sizes=[3], resnet_dilations=[[1]]),
    )  # fmt: skip


def lora(base: Any, path: Path, *, seed: int, strength: float = 1.0) -> Path:
    """A LoRA for a loaded pipeline's attention, as a safetensors file."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(seed)
    part = "unet" if hasattr(base, "unet") else "transformer"
    denoiser = getattr(base, part)
    denoiser.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_v"]))
    weights = {key: strength * value for key, value in get_peft_model_state_dict(denoiser).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    type(base).save_lora_weights(path.parent, **{f"{part}_lora_layers": weights}, weight_name=path.name)
    denoiser.delete_adapters("default")
    return path


def starter_lora(path: Path, *, seed: int, strength: float = 1.0) -> Path:
    """A LoRA for the starter's image model."""
    from diffusers import StableDiffusionXLPipeline

    return lora(
        StableDiffusionXLPipeline.from_pretrained(STARTER / "image", local_files_only=True),
        path,
        seed=seed,
        strength=strength,
    )


BUILDERS: dict[str, Callable[[], Any]] = {
    "sd15": sd15,
    "sd3": sd3,
    "flux": flux,
    "flux-schnell": lambda: flux(guidance_embeds=False),
    "qwen": qwen,
    "z-image": z_image,
    "refiner": refiner,
    "wan": wan,
    "wan-5b": lambda: wan(expand_timesteps=True),
    "wan-2.1-i2v": lambda: wan_pictures(seen=True),
    "wan-2.1-flf": lambda: wan_pictures(seen=True, ends=True),
    "wan-2.2-i2v": lambda: wan_pictures(seen=False),
    "ltx2": ltx2,
}


def remove(path: Path) -> None:
    """Gives the disk back."""
    shutil.rmtree(path, ignore_errors=True)
