"""Every image and video model of the catalog, with its published configs at small width, generates.

Scheduler, autoencoder and pipeline class are what the repositories have (`tests/data/published/README.md`,
`adapters/memory/known`); only widths and numbers of layers are smaller.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support import tiny_pipelines
from support.servers import ROOT
from support.videos import generated, pixels_of

from adapters.base import REFINER, GeneratedImage, ImageRequest, Keyframe, ModelFiles, VideoRequest
from adapters.catalog.catalog import ModelEntry, load_catalog
from adapters.catalog.sources import HubSource
from adapters.image.diffusers_image import DiffusersImage
from adapters.media.decode_image import encode_image
from adapters.memory.configs import KNOWN
from adapters.video.diffusers_video import DiffusersVideo

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

STARTER = ROOT / "starter" / "checkpoints"
PUBLISHED = Path(__file__).parents[1] / "data" / "published"
CATALOG = load_catalog().models


def repository(entry: ModelEntry) -> str:
    """The repository of an entry on a model hub; "" for the starter's models and fakes."""
    return next((source.repo for source in entry.sources if isinstance(source, HubSource)), "")


MODELS = sorted(
    name
    for name, entry in CATALOG.items()
    if entry.kind in ("image", "video") and not entry.unusable and repository(entry)
)


def configs(repo: str) -> dict[str, dict[str, Any]]:
    """The published config files of a repository."""
    name = f"{repo.replace('/', '--')}.json"
    return json.loads((KNOWN / name).read_text()) | json.loads((PUBLISHED / name).read_text())


def small(repo: str, path: Path) -> Path:
    """A checkpoint of a repository's configs at small width."""
    found = configs(repo)
    cls = found["model_index.json"]["_class_name"] if "model_index.json" in found else ""
    builders = {"LTXPipeline": ltx, "ZImagePipeline": z_image, "QwenImagePipeline": qwen_image, "WanPipeline": wan}
    torch.manual_seed(5)
    builders.get(cls, sdxl)(found).save_pretrained(path)
    return path


def sdxl(found: Mapping[str, dict[str, Any]]) -> Any:
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLImg2ImgPipeline,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(STARTER / "image" / "tokenizer")

    def text(cls: Any, config: dict[str, Any]) -> Any:
        plain = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
        tokens = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
        narrow = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        return cls(CLIPTextConfig(**plain | narrow | tokens | {"projection_dim": 32, "vocab_size": len(tokenizer)}))

    base = "text_encoder/config.json" in found
    unet = found["unet/config.json"]
    levels = len(unet["block_out_channels"])
    unet = unet | {
        "block_out_channels": [32, 64, 64, 64][:levels],
        "attention_head_dim": [2, 4, 4, 4][:levels],
        "transformer_layers_per_block": [1] * levels,
        "cross_attention_dim": 64 if base else 32,
        "projection_class_embeddings_input_dim": (6 if base else 5) * unet["addition_time_embed_dim"] + 32,
    }
    vae = found["vae/config.json"] | {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 1}
    cls = StableDiffusionXLPipeline if base else StableDiffusionXLImg2ImgPipeline
    first: dict[str, Any] = {"text_encoder": None, "tokenizer": None, "requires_aesthetics_score": True}
    if base:
        first = {"text_encoder": text(CLIPTextModel, found["text_encoder/config.json"]), "tokenizer": tokenizer}
    return cls(
        vae=AutoencoderKL.from_config(vae),
        **first,
        text_encoder_2=text(CLIPTextModelWithProjection, found["text_encoder_2/config.json"]),
        tokenizer_2=tokenizer,
        unet=UNet2DConditionModel.from_config(unet),
        scheduler=EulerDiscreteScheduler.from_config(found["scheduler/scheduler_config.json"]),
        add_watermarker=False,
    )


def ltx(found: Mapping[str, dict[str, Any]]) -> Any:
    from diffusers import (
        AutoencoderKLLTXVideo,
        FlowMatchEulerDiscreteScheduler,
        LTXPipeline,
        LTXVideoTransformer3DModel,
    )
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    vae = dict(found["vae/config.json"])
    for name in ("block_out_channels", "decoder_block_out_channels"):
        if name in vae:
            vae[name] = [width // 8 for width in vae[name]]
    for name in ("layers_per_block", "decoder_layers_per_block"):
        if name in vae:
            vae[name] = [1] * len(vae[name])
    vae["latent_channels"] = 16
    transformer = found["transformer/config.json"] | {
        "num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16, "cross_attention_dim": 32,
        "caption_channels": 32, "in_channels": 16, "out_channels": 16,
    }  # fmt: skip
    tokenizer = T5Tokenizer.from_pretrained(STARTER / "video" / "tokenizer")
    text = {key: value for key, value in found["text_encoder/config.json"].items() if key not in ("architectures",)}
    narrow = {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2, "vocab_size": len(tokenizer)}
    return LTXPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_config(found["scheduler/scheduler_config.json"]),
        vae=AutoencoderKLLTXVideo.from_config(vae),
        text_encoder=T5EncoderModel(T5Config(**text | narrow)).eval(),
        tokenizer=tokenizer,
        transformer=LTXVideoTransformer3DModel.from_config(transformer),
    )


def z_image(found: Mapping[str, dict[str, Any]]) -> Any:
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel

    base = tiny_pipelines.z_image()
    narrow = {"dim": 256, "n_heads": 2, "n_kv_heads": 2, "n_layers": 1, "n_refiner_layers": 1, "cap_feat_dim": 32}
    vae = found["vae/config.json"] | {"block_out_channels": [32] * 4, "layers_per_block": 1}
    return ZImagePipeline(
        FlowMatchEulerDiscreteScheduler.from_config(found["scheduler/scheduler_config.json"]),
        AutoencoderKL.from_config(vae),
        base.text_encoder,
        base.tokenizer,
        ZImageTransformer2DModel.from_config(found["transformer/config.json"] | narrow),
    )


def qwen_image(found: Mapping[str, dict[str, Any]]) -> Any:
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )

    base = tiny_pipelines.qwen()
    narrow = {"num_layers": 1, "num_attention_heads": 2, "joint_attention_dim": 32}
    return QwenImagePipeline(
        FlowMatchEulerDiscreteScheduler.from_config(found["scheduler/scheduler_config.json"]),
        AutoencoderKLQwenImage.from_config(found["vae/config.json"] | {"base_dim": 8, "num_res_blocks": 1}),
        base.text_encoder,
        base.tokenizer,
        QwenImageTransformer2DModel.from_config(found["transformer/config.json"] | narrow),
    )


def wan(found: Mapping[str, dict[str, Any]]) -> Any:
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
    from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

    tokenizer = T5Tokenizer.from_pretrained(STARTER / "video" / "tokenizer")
    text = {key: value for key, value in found["text_encoder/config.json"].items() if key != "architectures"}
    text |= {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2, "vocab_size": len(tokenizer)}
    narrow = {"num_layers": 1, "num_attention_heads": 2, "ffn_dim": 64, "freq_dim": 32, "text_dim": 32}
    vae = found["vae/config.json"] | {"base_dim": 16, "decoder_base_dim": 16, "num_res_blocks": 1}
    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=UMT5EncoderModel(UMT5Config(**text)).eval(),
        vae=AutoencoderKLWan.from_config(vae),
        scheduler=UniPCMultistepScheduler.from_config(found["scheduler/scheduler_config.json"]),
        transformer=WanTransformer3DModel.from_config(found["transformer/config.json"] | narrow),
        expand_timesteps=found["model_index.json"]["expand_timesteps"],
    )


def test_every_published_config_is_here() -> None:
    assert {"sdxl", "sdxl-refined", "sdxl-768", "ltx-video"} <= set(MODELS)
    for name in MODELS:
        assert "scheduler/scheduler_config.json" in configs(repository(CATALOG[name])), name


@pytest.mark.parametrize("name", [name for name in MODELS if CATALOG[name].kind == "image"])
async def test_an_image_model_generates(name: str, tmp_path: Path) -> None:
    entry = CATALOG[name]
    path = small(repository(entry), tmp_path / "base")
    components = {}
    if entry.refiner:
        components[REFINER] = str(small(repository(CATALOG[entry.refiner]), tmp_path / "refiner"))
    files = ModelFiles(name, entry.backend, str(path), entry.options, None, components)
    model = await DiffusersImage.load(files, lambda _: None)
    request = ImageRequest(
        "a red ball", negative_prompt="blurry" if entry.defaults["guidance_scale"] > 1 else "", width=64, height=64, num_inference_steps=3, seed=1,
        guidance_scale=entry.defaults["guidance_scale"], refiner_steps=2 if entry.refiner else 0,
    )  # fmt: skip
    try:
        events = [event async for event in model.generate(request)]
    finally:
        await model.unload()
    assert sum(isinstance(event, GeneratedImage) for event in events) == 1


async def film(repo: str, entry: ModelEntry, path: Path) -> None:
    """Generates a video from text, and one from keyframes at the first frame and in between."""
    files = ModelFiles("m", entry.backend, str(small(repo, path)), entry.options)
    model = await DiffusersVideo.load(files, lambda _: None)
    assert not model._loaded.pipeline.scheduler.config.get("use_dynamic_shifting")
    request = VideoRequest(
        "a red ball", width=64, height=64, num_frames=17, num_inference_steps=3, seed=1,
        guidance_scale=entry.defaults["guidance_scale"],
    )  # fmt: skip
    try:
        plain = pixels_of(await generated(model, request))
        image = encode_image(Image.new("RGB", (64, 64), "red"), "image/png")
        every = (Keyframe(image, 0), Keyframe(image, 8))
        keyed = replace(request, keyframes=every if model._can.inputs.keyframes == "any" else every[:1])
        assert pixels_of(await generated(model, keyed)).shape == plain.shape == (17, 64, 64, 3)
    finally:
        await model.unload()


@pytest.mark.parametrize("name", [name for name in MODELS if CATALOG[name].kind == "video"])
async def test_a_video_model_generates(name: str, tmp_path: Path) -> None:
    await film(repository(CATALOG[name]), CATALOG[name], tmp_path / "m")


async def test_a_scheduler_that_the_pipeline_cannot_run_is_replaced(tmp_path: Path) -> None:
    repo = "Lightricks/LTX-Video"
    assert configs(repo)["scheduler/scheduler_config.json"]["use_dynamic_shifting"]
    await film(repo, CATALOG["ltx-video"], tmp_path / "m")
