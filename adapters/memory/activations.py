"""Memory that grows with a request: KV caches and activations, the tensors that are alive at the same time.

Each function follows the code of the library that runs the model, and its comments say where the peak is. Tests run
diffusers' classes on fake tensors and compare.
"""

from adapters.memory.parameters import Config, class_of, head_size, kv_heads, text_config

STEP_TOKENS = 2048
"""Tokens in one step of vLLM by default."""


def kv_cache(config: Config, context: int | None, sequences: int) -> int:
    """Bytes of 16-bit keys and values of `sequences` sequences of `context` tokens; None: the model's maximum."""
    text = text_config(config)
    per_token = 2 * text["num_hidden_layers"] * kv_heads(text) * head_size(text) * 2
    return per_token * (context or text["max_position_embeddings"]) * sequences


def text_activations(config: Config, size: int, sequences: int, step_tokens: int = STEP_TOKENS) -> int:
    """Bytes of one step of vLLM: hidden states and the gated MLP's three tensors, then float32 logits, twice."""
    text = text_config(config)
    step = step_tokens * (4 * text["hidden_size"] + 3 * text["intermediate_size"]) * size
    return step + 2 * sequences * text["vocab_size"] * 4


def embedding_activations(config: Config, size: int, tokens: int) -> int:
    """Bytes of one layer on a batch: hidden states, and the MLP's tensor before and after its activation."""
    text = text_config(config)
    return tokens * (4 * text["hidden_size"] + 2 * text["intermediate_size"]) * size


def whisper_cache(config: Config, size: int, *, beams: int, tokens: int | None = None) -> int:
    """Bytes of CTranslate2's caches: the tokens of each beam, and the audio's keys and values, which beams share."""
    per_position = 2 * config["decoder_layers"] * config["d_model"] * size
    return per_position * (beams * (tokens or config["max_target_positions"]) + config["max_source_positions"])


def whisper_activations(config: Config, size: int) -> int:
    """Bytes of one encoder layer on 30 seconds: attention scores before and after softmax, or the MLP."""
    positions = config["max_source_positions"]
    scores = 2 * config["encoder_attention_heads"] * positions * positions
    return (max(scores, positions * config["encoder_ffn_dim"] * 2) + 4 * positions * config["d_model"]) * size


def network_activations(
    config: Config,
    size: int,
    batch: int,
    frames: int,
    width: int,
    height: int,
    *,
    tile_frames: int | None = None,
    upcast: bool = False,
) -> int:
    """Bytes of the largest set of live tensors of one component of a diffusers pipeline.

    Args:
        config: The component's.
        size: Bytes of a number.
        batch: Images or videos at once.
        frames: Of a video.
        width: Pixels.
        height: Pixels.
        tile_frames: Frames of the tiles in which LTX's autoencoders decode; None: all at once.
        upcast: Whether diffusers decodes in 32 bit; see `adapters.memory.estimate.is_upcast`.
    """
    name = class_of(config)
    kept = 0
    if name.startswith("AutoencoderKLLTX") and tile_frames is not None and latent_frames(frames) > tile_frames // 8:
        # A tile has one more latent frame. While it is decoded, the pixels of the tile before it are kept.
        frames = 8 * (tile_frames // 8) + 1
        kept = 3 * batch * frames * width * height * size
    if name == "AutoencoderKL":
        return kl_decode_bytes(config, 4 if upcast else size, batch, width, height)
    if name == "AutoencoderKLLTXVideo":
        return ltx_decode_bytes(config, size, batch, frames, width, height) + kept
    if name == "AutoencoderKLQwenImage":
        # An image is a video of one frame. The last causal convolution at full size is padded in time to three
        # frames, plus the norm, the activation and the caches of its neighbours.
        return 18 * batch * width * height * config["base_dim"] * size
    if name == "AutoencoderKLWan":
        # Four frames at a time, with the caches of all convolutions; and the decoded frames, in three channels.
        # Wan 2.2's smallest packs two by two pixels into one; its decoder is wider, with a residual at each level.
        channels = config.get("decoder_base_dim") or config["base_dim"]
        kept = 84 if config.get("is_residual") else 51
        packed = (config.get("patch_size") or 1) ** 2
        return batch * width * height * (kept * channels // packed + 3 * frames) * size
    if name == "WanTransformer3DModel":
        return wan_transformer_bytes(config, size, batch, frames, width, height)
    if name == "AutoencoderKLLTX2Video":
        # Its convolutions pad in time: five tensors at full size are alive at once, and a third of one.
        channels = config["decoder_block_out_channels"][0] // config["upsample_factor"][0]
        pixels = (width // config["patch_size"]) * (height // config["patch_size"])
        return batch * (frames + 1) * pixels * channels * size * 16 // 3 + kept
    if name == "UNet2DConditionModel":
        # With guidance, each image is denoised twice. The gated feed-forward of the first level with attention
        # holds its input, both halves of the inner state and their product: (1 + 8 + 4) x channels for each position.
        level = next(i for i, kind in enumerate(config["down_block_types"]) if kind.startswith("CrossAttn"))
        positions = (width // (8 << level)) * (height // (8 << level))
        return 2 * batch * positions * 13 * config["block_out_channels"][level] * size
    if name == "LTXVideoTransformer3DModel":
        # Input, residual, and the inner state of the feed-forward before and after its GELU: (2 + 4 + 4) x width.
        tokens = latent_frames(frames) * (width // 32) * (height // 32)
        return 2 * batch * tokens * 10 * config["num_attention_heads"] * config["attention_head_dim"] * size
    if name == "LTX2VideoTransformer3DModel":
        # Each token has its own noise level, and so its own shifts, scales and gates, in addition to those of the
        # layer, and positions in double precision: 45 times its width, for prompt and negative prompt together.
        tokens = latent_frames(frames) * (width // 32) * (height // 32)
        return 2 * batch * tokens * 45 * config["num_attention_heads"] * config["attention_head_dim"] * size
    return 0  # text encoders: 77 or 256 tokens, negligible


def wan_transformer_bytes(config: Config, size: int, batch: int, frames: int, width: int, height: int) -> int:
    """`WanTransformer3DModel`: a layer's input, norm, queries, keys and values; the feed-forward before and after GELU.

    Prompt and negative prompt are denoised one after the other. The config does not have the size of a latent: 8
    pixels, and 16 for latents of 48 channels.
    """
    side = (16 if config["out_channels"] == 48 else 8) * config["patch_size"][-1]
    tokens = ((frames - 1) // 4 + 1) * (width // side) * (height // side)
    inner = config["num_attention_heads"] * config["attention_head_dim"]
    return batch * tokens * (6 * inner + 2 * config["ffn_dim"]) * size


def kl_decode_bytes(config: Config, size: int, batch: int, width: int, height: int) -> int:
    """`AutoencoderKL.decode`: the first residual block at full size holds its input, its norm, and its SiLU.

    The input still has the second level's channels. Images of a batch are decoded together.
    """
    channels = config["block_out_channels"][min(1, len(config["block_out_channels"]) - 1)]
    return 3 * batch * width * height * channels * size


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
