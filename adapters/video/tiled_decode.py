"""Decoding latents in temporal tiles, each passed on as soon as it is complete.

diffusers decodes long videos like this, too (`_temporal_tiled_decode` of the LTX autoencoders), but returns nothing
before the last tile. The arithmetic here is the same, so the frames are equal bit for bit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

OVERLAP = 8
"""Frames over which a tile is blended into the next; diffusers' value."""

Sink = Callable[["torch.Tensor"], None]
"""Receives frames: [1, 3, frames, height, width], about -1..1."""


def supports_tiles(vae: Any) -> bool:
    """Whether an autoencoder decodes temporal tiles as the LTX ones do."""
    return all(hasattr(vae, name) for name in ("_temporal_tiled_decode", "blend_t", "use_framewise_decoding"))


@contextmanager
def decode_in_tiles(vae: Any, frames: int, sink: Sink) -> Iterator[None]:
    """Makes an autoencoder decode in tiles within the context, and passes each tile to `sink`.

    A video of at most one tile is decoded as usual, and `sink` is not called. Otherwise the autoencoder returns the
    video's first frame only.

    Args:
        vae: One for which `supports_tiles` is true.
        frames: Frames of a tile; rounded down to what the autoencoder can do, and to more than `OVERLAP`.
        sink: Called in the decoding thread.
    """
    ratio = vae.temporal_compression_ratio
    own = ("use_framewise_decoding", "tile_sample_min_num_frames", "tile_sample_stride_num_frames")
    before = {name: getattr(vae, name) for name in own}
    size = max(frames // ratio * ratio, OVERLAP + ratio)

    def decode(latents: "torch.Tensor", *embedded: Any, return_dict: bool = True, **causal: Any) -> Any:
        from diffusers.models.autoencoders.vae import DecoderOutput

        first: Any = None
        for tile in _tiles(vae, latents, embedded, causal):
            first = tile[:, :, :1].clone() if first is None else first
            sink(tile)
        return DecoderOutput(sample=first) if return_dict else (first,)

    vae.use_framewise_decoding = True
    vae.tile_sample_min_num_frames, vae.tile_sample_stride_num_frames = size, size - OVERLAP
    # INTERNAL diffusers==0.42.1: the method that `decode` calls for long videos.
    vae._temporal_tiled_decode = decode
    try:
        yield
    finally:
        del vae._temporal_tiled_decode
        for name, value in before.items():
            setattr(vae, name, value)


def _tiles(
    vae: Any, latents: "torch.Tensor", embedded: tuple[Any, ...], causal: dict[str, Any]
) -> Iterator["torch.Tensor"]:
    ratio, total = vae.temporal_compression_ratio, latents.shape[2]
    size, step = vae.tile_sample_min_num_frames // ratio, vae.tile_sample_stride_num_frames // ratio
    left = (total - 1) * ratio + 1
    before: Any = None
    for start in range(0, total, step):
        piece = latents[:, :, start : start + size + 1]
        rows, columns = (vae.tile_sample_min_height, vae.tile_sample_min_width)
        space = vae.spatial_compression_ratio
        if vae.use_tiling and (piece.shape[-2] > rows // space or piece.shape[-1] > columns // space):
            tile = vae.tiled_decode(piece, *embedded, **causal, return_dict=True).sample
        else:
            tile = vae.decoder(piece, *embedded, **causal)
        if before is not None:
            tile = vae.blend_t(before, tile[:, :, :-1], OVERLAP)
        output = tile[:, :, : step * ratio + (before is None)][:, :, :left]
        before, left = tile, left - output.shape[2]
        if output.shape[2]:
            yield output
        if not left:
            return
