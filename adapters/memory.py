"""How much memory a model will take, estimated from its config files alone: before a download, and without a GPU.

    total = weights + KV cache + activations + overhead

*Weights*: parameters, counted exactly (`adapters/parameters.py`), times the bits of their format; from the headers of
safetensors files where those are there. *KV cache*: 2 x layers x KV heads x head size x tokens x bytes (arXiv 2309.06180).
*Activations*: the largest set of tensors that live at once, found by following each library's code; the functions below
name it. *Overhead*: what a process holds before its model, and what torch's caching allocator holds beside live tensors.
docs/memory.md tells how far these were checked, and against what.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from adapters.base import Kind
from adapters.parameters import (
    Config,
    Parameters,
    UnknownArchitecture,
    class_of,
    count,
    head_size,
    kv_heads,
    text_config,
)

DeviceKind = Literal["cuda", "cpu"]
Configs = Mapping[str, Any]
"""Parsed JSON files of a model by relative path: "config.json", "unet/config.json"."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes at the peak of the work that was described."""

    weights_bytes: int
    kv_cache_bytes: int
    activations_bytes: int
    overhead_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.kv_cache_bytes + self.activations_bytes + self.overhead_bytes


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """How weights lie in memory."""

    bits: int
    group_size: int | None = None
    """So many weights share a scale (and a zero point); None: a whole row does, which weighs nothing."""
    group_bits: int = 0
    """Of each group's scale and zero point together."""
    layers_only: bool = False
    """Embeddings, output head and vision tower stay in 16 bit."""

    def bytes_of(self, parameters: Parameters) -> int:
        """What the parameters weigh."""
        bits = self.bits + (self.group_bits / self.group_size if self.group_size else 0)
        small, wide = (parameters.layers, parameters.kept) if self.layers_only else (parameters.total, 0)
        return round(small * bits / 8) + 2 * wide


FORMATS: Mapping[str, WeightFormat] = {
    "float32": WeightFormat(32),
    "float16": WeightFormat(16),
    "bfloat16": WeightFormat(16),
    # All matrices, as CTranslate2 has it; and as the round numbers of model cards mean it.
    "int8": WeightFormat(8),
    "int4": WeightFormat(4, 128, 16 + 4),
    # Methods of vLLM: the layers only. arXiv 2306.00978, 2210.17323, 2305.14314.
    "awq": WeightFormat(4, 128, 16 + 4, layers_only=True),
    "gptq": WeightFormat(4, 128, 16 + 4, layers_only=True),
    "bitsandbytes": WeightFormat(4, 64, 32, layers_only=True),
    "fp8": WeightFormat(8, layers_only=True),
}
"""Formats by the name that a configuration gives them."""

PROCESS_BYTES: Mapping[DeviceKind, Mapping[Kind, int]] = {
    # A CUDA context with the kernels of torch, cuBLAS and cuDNN loaded on first use. Assumed; no GPU was at hand.
    "cuda": dict.fromkeys(("text", "vision", "speech", "image", "video"), 500_000_000),
    # Resident bytes of a process that has imported the backend and loaded nothing, measured (vLLM has two).
    "cpu": {
        "text": 1_300_000_000,
        "vision": 1_300_000_000,
        "speech": 70_000_000,
        "image": 520_000_000,
        "video": 520_000_000,
    },
}
"""What a model's processes take before the model."""

CACHING = 0.8
"""What torch's caching allocator holds on a GPU beside live tensors, as a part of their peak.

The allocations of diffusers' UNet, transformer and autoencoders, replayed through the allocator's rules (blocks are split
and joined only inside segments of one cudaMalloc each; c10/cuda/CUDACachingAllocator.cpp), reserve 1.75 to 1.9 times the
peak of live tensors on a card that has room. One that has not gives unused segments back and makes do with less.
"""

STEP_TOKENS = 2048
"""Tokens in one step of vLLM, where the operator sets none."""


def estimate(
    kind: Kind,
    configs: Configs,
    *,
    dtype: str | None = None,
    quantization: str | None = None,
    context: int | None = None,
    sequences: int = 1,
    kv_cache_bytes: int | None = None,
    width: int | None = None,
    height: int | None = None,
    frames: int | None = None,
    batch: int = 1,
    device: DeviceKind = "cuda",
    weights_bytes: int | None = None,
) -> MemoryEstimate:
    """The memory of a model at work.

    Args:
        kind: Of the model.
        configs: Its config files. All models among them are counted, each once: give those of two pipelines together
            for the two together.
        dtype: Of weights and activations: "float16", "bfloat16", "float32". None: as published, or 16 bit.
        quantization: A row of `FORMATS` for the weights instead; None: what the config itself names.
        context: Tokens of one sequence, prompt and answer; None: the model's whole context. For speech, of the answer.
        sequences: Sequences at once; beams, for speech (5 there when 1 is given is not assumed: say what you mean).
        kv_cache_bytes: The cache's size, where the engine takes a fixed one; `context` and `sequences` then say nothing.
        width: Pixels; None: the native width. For images and videos.
        height: Pixels; None: the native height.
        frames: Of a video; None: 121.
        batch: Images, videos or sounds at once.
        device: Where it runs.
        weights_bytes: What the weights weigh, where somebody read it from the files.

    Raises:
        UnknownArchitecture: The configs are of no model that is known here.
        ValueError: There is no such dtype or quantisation.
    """
    models = {path: config for path, config in configs.items() if path.endswith("config.json") and class_of(config)}
    if not models:
        raise UnknownArchitecture("there is no config file that names a model's class")
    main = next(iter(models.values()))
    dtype = dtype or _published(main)
    if dtype not in ("float32", "float16", "bfloat16"):
        raise ValueError(f"there is no dtype {dtype!r}")
    size = 4 if dtype == "float32" else 2
    weights = weights_bytes if weights_bytes is not None else weigh(models, _format(main, dtype, quantization))
    cache = 0
    if kind in ("text", "vision"):
        cache = kv_cache_bytes if kv_cache_bytes is not None else kv_cache(main, context, sequences)
        activations = text_activations(main, size, sequences)
    elif kind == "speech":
        cache = batch * whisper_cache(main, size, beams=sequences, tokens=context)
        activations = batch * whisper_activations(main, size)
    else:
        shape = (batch, frames or 121, *_pixels(kind, width, height))
        activations = max(_network_activations(config, size, *shape) for config in models.values())
    caching = round(CACHING * activations) if device == "cuda" and kind in ("image", "video") else 0
    return MemoryEstimate(weights, cache, activations, PROCESS_BYTES[device][kind] + caching)


def weigh(models: Configs, format: WeightFormat) -> int:
    """Bytes of all models' weights; two with the same config are one, shared."""
    distinct = {repr(sorted(config.items())): config for config in models.values()}
    # Where diffusers decodes in 32 bit (`force_upcast`), the autoencoder's weights grow with it.
    wide = [c for c in distinct.values() if class_of(c) == "AutoencoderKL" and c.get("force_upcast")]
    narrow = [c for c in distinct.values() if c not in wide]
    return sum(format.bytes_of(count(c)) for c in narrow) + sum(4 * count(c).total for c in wide)


def kv_cache(config: Config, context: int | None, sequences: int) -> int:
    """Bytes of keys and values, 16 bit, of so many sequences of `context` tokens; None: as long as the model can."""
    text = text_config(config)
    per_token = 2 * text["num_hidden_layers"] * kv_heads(text) * head_size(text) * 2
    return per_token * (context or text["max_position_embeddings"]) * sequences


def text_activations(config: Config, size: int, sequences: int) -> int:
    """Bytes of one step of vLLM: hidden states and the gated MLP's three tensors, then float32 logits, twice."""
    text = text_config(config)
    step = STEP_TOKENS * (4 * text["hidden_size"] + 3 * text["intermediate_size"]) * size
    return step + 2 * sequences * text["vocab_size"] * 4


def whisper_cache(config: Config, size: int, *, beams: int, tokens: int | None = None) -> int:
    """Bytes of CTranslate2's caches: each beam's own tokens, and the sound's keys and values, which beams share."""
    per_position = 2 * config["decoder_layers"] * config["d_model"] * size
    return per_position * (beams * (tokens or config["max_target_positions"]) + config["max_source_positions"])


def whisper_activations(config: Config, size: int) -> int:
    """Bytes of one encoder layer on half a minute: attention scores before and after softmax, or the MLP."""
    positions = config["max_source_positions"]
    scores = 2 * config["encoder_attention_heads"] * positions * positions
    return (max(scores, positions * config["encoder_ffn_dim"] * 2) + 4 * positions * config["d_model"]) * size


def _network_activations(config: Config, size: int, batch: int, frames: int, width: int, height: int) -> int:
    """Bytes of the largest set of live tensors while one component of a diffusers pipeline works."""
    name = class_of(config)
    if name == "AutoencoderKL":
        return kl_decode_bytes(config, size, batch, width, height)
    if name == "AutoencoderKLLTXVideo":
        return ltx_decode_bytes(config, size, batch, frames, width, height)
    if name == "UNet2DConditionModel":
        # With guidance, each image is denoised twice over. The gated feed-forward of the first level with attention
        # holds its input, both halves of the inner state and their product: (1 + 8 + 4) x channels for each position.
        level = next(i for i, kind in enumerate(config["down_block_types"]) if kind.startswith("CrossAttn"))
        positions = (width // (8 << level)) * (height // (8 << level))
        return 2 * batch * positions * 13 * config["block_out_channels"][level] * size
    if name == "LTXVideoTransformer3DModel":
        # Input, residual, and the inner state of the feed-forward before and after its GELU: (2 + 4 + 4) x width.
        tokens = latent_frames(frames) * (width // 32) * (height // 32)
        return 2 * batch * tokens * 10 * config["num_attention_heads"] * config["attention_head_dim"] * size
    return 0  # text encoders: 77 or 256 tokens, nothing beside the others


def kl_decode_bytes(config: Config, size: int, batch: int, width: int, height: int) -> int:
    """`AutoencoderKL.decode`: the first residual block at full size holds its input, the norm of it, and the SiLU of that.

    That input still has the second level's channels. Images of a batch are decoded together.
    """
    channels = config["block_out_channels"][min(1, len(config["block_out_channels"]) - 1)]
    return 3 * batch * width * height * channels * (4 if config.get("force_upcast") else size)


def ltx_decode_bytes(config: Config, size: int, batch: int, frames: int, width: int, height: int) -> int:
    """`AutoencoderKLLTXVideo.decode`: a norm at full size holds two tensors of its dtype and two in float32.

    Frames are decoded eight for each latent one, and the first seven dropped.
    """
    channels = (config.get("decoder_block_out_channels") or config["block_out_channels"])[0]
    channels //= (config.get("upsample_factor") or [1])[0]
    patch = config["patch_size"]
    elements = batch * 8 * latent_frames(frames) * (width // patch) * (height // patch) * channels
    return elements * 2 * (size + 4)


def latent_frames(frames: int) -> int:
    """Frames in LTX-Video's latents: one for the first, and one for every eight after it."""
    return (frames + 6) // 8 + 1


def _pixels(kind: Kind, width: int | None, height: int | None) -> tuple[int, int]:
    native = (1024, 1024) if kind == "image" else (768, 512)
    return width or native[0], height or native[1]


def _published(config: Config) -> str:
    named = str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")
    return named if named in ("float32", "float16", "bfloat16") else "float16"


def _format(config: Config, dtype: str, quantization: str | None) -> WeightFormat:
    own: Mapping[str, Any] = config.get("quantization_config") or {}
    name = quantization or own.get("quant_method") or dtype
    if name not in FORMATS:
        raise ValueError(f"there is no quantisation {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name]
