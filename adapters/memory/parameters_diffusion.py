"""Counts the parameters of diffusers' networks from their configs. See `adapters/memory/parameters.py`."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

Config = Mapping[str, Any]


def _linear(into: int, out: int, *, bias: bool = True) -> int:
    return into * out + (out if bias else 0)


def _conv(into: int, out: int, side: int = 3, dimensions: int = 2) -> int:
    return into * out * side**dimensions + out


def _resnet(into: int, out: int, time: int = 0) -> int:
    """`ResnetBlock2D`: two norms, two convolutions, an optional time embedding, a shortcut if widths differ."""
    shortcut = _conv(into, out, 1) if into != out else 0
    return 2 * into + _conv(into, out) + (_linear(time, out) if time else 0) + 2 * out + _conv(out, out) + shortcut


def _transformer_2d(channels: int, layers: int, cross: int) -> int:
    """`Transformer2DModel` with linear projections: self-attention, cross-attention, gated feed-forward."""
    attention = 3 * channels * channels + _linear(channels, channels)
    crossed = channels * channels + 2 * cross * channels + _linear(channels, channels)
    feed = _linear(channels, 8 * channels) + _linear(4 * channels, channels)
    return 2 * channels + 2 * _linear(channels, channels) + layers * (attention + crossed + feed + 6 * channels)


def unet(config: Config) -> int:
    """`UNet2DConditionModel` as Stable Diffusion XL uses it (arXiv 2307.01952)."""
    if not config["use_linear_projection"] or config["addition_embed_type"] != "text_time":
        raise ValueError("use_linear_projection or addition_embed_type: this is not SDXL")
    channels, cross, per_block = config["block_out_channels"], config["cross_attention_dim"], config["layers_per_block"]
    depth = config["transformer_layers_per_block"]
    depths = [depth] * len(channels) if isinstance(depth, int) else list(depth)
    if not all(isinstance(one, int) for one in depths):
        raise ValueError("transformer_layers_per_block: only whole numbers can be counted")
    first = channels[0]
    time = 4 * first
    total = _conv(config["in_channels"], first) + _linear(first, time) + _linear(time, time)
    total += _linear(config["projection_class_embeddings_input_dim"], time) + _linear(time, time)
    previous, skips = first, [first]
    for level, (kind, out) in enumerate(zip(config["down_block_types"], channels, strict=True)):
        for _ in range(per_block):
            total += _resnet(previous, out, time)
            total += _transformer_2d(out, depths[level], cross) if kind.startswith("CrossAttn") else 0
            previous = out
            skips.append(out)
        if level < len(channels) - 1:
            total += _conv(out, out)
            skips.append(out)
    last = channels[-1]
    total += 2 * _resnet(last, last, time) + _transformer_2d(last, depths[-1], cross)
    for level, (kind, out) in enumerate(zip(config["up_block_types"], reversed(channels), strict=True)):
        for _ in range(per_block + 1):
            total += _resnet(previous + skips.pop(), out, time)
            total += _transformer_2d(out, depths[::-1][level], cross) if kind.startswith("CrossAttn") else 0
            previous = out
        total += _conv(out, out) if level < len(channels) - 1 else 0
    return total + 2 * first + _conv(first, config["out_channels"])


def autoencoder(config: Config) -> int:
    """`AutoencoderKL`: the encoder, the decoder, and up to two convolutions between them."""
    channels, per_block, latent = config["block_out_channels"], config["layers_per_block"], config["latent_channels"]
    first, last = channels[0], channels[-1]
    middle = 2 * _resnet(last, last) + 2 * last + 4 * _linear(last, last)
    encoder = _conv(config["in_channels"], first) + middle + 2 * last + _conv(last, 2 * latent)
    for level, (into, out) in enumerate(pairwise([first, *channels])):
        encoder += _resnet(into, out) + (per_block - 1) * _resnet(out, out)
        encoder += _conv(out, out) if level < len(channels) - 1 else 0
    decoder = _conv(latent, last) + middle + 2 * first + _conv(first, config["out_channels"])
    for level, (into, out) in enumerate(pairwise([last, *reversed(channels)])):
        decoder += _resnet(into, out) + per_block * _resnet(out, out)
        decoder += _conv(out, out) if level < len(channels) - 1 else 0
    between = _conv(2 * latent, 2 * latent, 1) if config.get("use_quant_conv", True) else 0
    between += _conv(latent, latent, 1) if config.get("use_post_quant_conv", True) else 0
    return encoder + decoder + between


def ltx_transformer(config: Config) -> int:
    """`LTXVideoTransformer3DModel` (arXiv 2501.00103)."""
    inner = config["num_attention_heads"] * config["attention_head_dim"]
    cross = config["cross_attention_dim"]
    attention = 4 * _linear(inner, inner) + 2 * inner  # and the norms of queries and keys
    crossed = 2 * _linear(inner, inner) + 2 * _linear(cross, inner) + 2 * inner
    block = attention + crossed + _linear(inner, 4 * inner) + _linear(4 * inner, inner) + 6 * inner
    time = _linear(256, inner) + _linear(inner, inner) + _linear(inner, 6 * inner)
    caption = _linear(config["caption_channels"], inner) + _linear(inner, inner)
    ends = _linear(config["in_channels"], inner) + _linear(inner, config["out_channels"]) + 2 * inner
    return ends + time + caption + config["num_layers"] * block


def _resnet_3d(into: int, out: int, *, timed: bool = False, noise: bool = False) -> int:
    """`LTXVideoResnetBlock3d`: norms without weights; a shortcut with its own norm if widths differ.

    Args:
        into: Channels of its input.
        out: Channels of its output.
        timed: Whether it is conditioned on a noise level, by a table of shifts and scales.
        noise: Whether noise is added to its channels.
    """
    shortcut = 2 * into + _conv(into, out, 1, 3) if into != out else 0
    return _conv(into, out, 3, 3) + _conv(out, out, 3, 3) + shortcut + 4 * into * timed + 2 * into * noise


def ltx_autoencoder(config: Config) -> int:
    """`AutoencoderKLLTXVideo` of LTX-Video 0.9.0 and later."""
    return _ltx_encoder(config) + _ltx_decoder(config)


def _ltx_encoder(config: Config) -> int:
    """`LTXVideoEncoder3d`. Since 0.9.5 its blocks widen in their downsampling, before that in a block after it."""
    channels, per_block, scaled = (
        config["block_out_channels"],
        config["layers_per_block"],
        config["spatio_temporal_scaling"],
    )
    total = _conv(config["in_channels"] * config["patch_size"] ** 2, channels[0], 3, 3)
    newer = (config.get("down_block_types") or [""])[-1] == "LTXVideo095DownBlock3D"
    kinds = config.get("downsample_type") or ["conv"] * len(channels)
    parts = {"spatial": 4, "temporal": 2, "spatiotemporal": 8}
    for level, (into, out) in enumerate(pairwise(channels if newer else [*channels, channels[-1]])):
        total += per_block[level] * _resnet_3d(into, into)
        if scaled[level]:
            total += _conv(into, out // parts[kinds[level]] if kinds[level] in parts else into, 3, 3)
        total += _resnet_3d(into, out) if into != out and not newer else 0
    last = channels[-1]
    return total + per_block[-1] * _resnet_3d(last, last) + _conv(last, config["latent_channels"] + 1, 3, 3)


def _ltx_decoder(config: Config) -> int:
    """`LTXVideoDecoder3d`. Since 0.9.1 it is conditioned on a noise level, and its upsampling narrows."""
    channels = list(reversed(config.get("decoder_block_out_channels") or config["block_out_channels"]))
    per_block = list(reversed(config.get("decoder_layers_per_block") or config["layers_per_block"]))
    scaled = list(reversed(config.get("decoder_spatio_temporal_scaling") or config["spatio_temporal_scaling"]))
    factors = list(reversed(config.get("upsample_factor") or [1] * len(channels)))
    noise = list(reversed(config.get("decoder_inject_noise") or [False] * len(per_block)))
    timed = bool(config.get("timestep_conditioning"))

    def embedder(width: int) -> int:
        return (_linear(256, width) + _linear(width, width)) if timed else 0

    out = channels[0]
    total = _conv(config["latent_channels"], out, 3, 3) + embedder(4 * out)
    total += per_block[0] * _resnet_3d(out, out, timed=timed, noise=noise[0])
    for level, width in enumerate(channels):
        into, out = out // factors[level], width // factors[level]
        total += embedder(4 * into)
        total += _resnet_3d(into, out, timed=timed, noise=noise[level + 1]) if into != out else 0
        total += _conv(out * factors[level], 8 * out, 3, 3) if scaled[level] else 0
        total += per_block[level + 1] * _resnet_3d(out, out, timed=timed, noise=noise[level + 1])
    total += _conv(out, config["out_channels"] * config["patch_size"] ** 2, 3, 3)
    return total + embedder(2 * out) + (1 + 2 * out) * timed
