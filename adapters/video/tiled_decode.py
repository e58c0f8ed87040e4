"""Decoding a film in tiles of time, each of which is handed on as soon as it is whole.

diffusers decodes long films so too (`_temporal_tiled_decode` of the LTX autoencoders), but gives nothing away before
the last tile. The arithmetic here is its own: the frames are the same, bit for bit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

OVERLAP = 8
"""Frames in which a tile is faded into the next; as diffusers has it."""

Sink = Callable[["torch.Tensor"], None]
"""Takes frames: [1, 3, frames, height, width], about -1..1."""


def can_tile(vae: Any) -> bool:
    """Whether an autoencoder decodes tiles of time as the LTX ones do."""
    return all(hasattr(vae, name) for name in ("_temporal_tiled_decode", "blend_t", "use_framewise_decoding"))


@contextmanager
def tiles_to(vae: Any, frames: int, sink: Sink) -> Iterator[None]:
    """Has an autoencoder decode in tiles of so many frames, and gives each to `sink`; as it was before, afterwards.

    A film of no more than one tile is decoded as ever, and `sink` is not called. Otherwise the autoencoder returns the
    film's first frame only.

    Args:
        vae: One that `can_tile`.
        frames: Of a tile; rounded down to what the autoencoder can do, and more than `OVERLAP`.
        sink: Is called in the thread that decodes.
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
        part = latents[:, :, start : start + size + 1]
        rows, columns = (vae.tile_sample_min_height, vae.tile_sample_min_width)
        space = vae.spatial_compression_ratio
        if vae.use_tiling and (part.shape[-2] > rows // space or part.shape[-1] > columns // space):
            tile = vae.tiled_decode(part, *embedded, **causal, return_dict=True).sample
        else:
            tile = vae.decoder(part, *embedded, **causal)
        if before is not None:
            tile = vae.blend_t(before, tile[:, :, :-1], OVERLAP)
        shown = tile[:, :, : step * ratio + (before is None)][:, :, :left]
        before, left = tile, left - shown.shape[2]
        if shown.shape[2]:
            yield shown
        if not left:
            return
