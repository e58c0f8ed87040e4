"""Films decoded tile after tile: the same frames as diffusers' own, handed on before the last tile is there."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLLTXVideo
from support import tiny_pipelines
from support.servers import ROOT

from adapters.video.tiled_decode import decode_in_tiles, supports_tiles


@pytest.fixture(scope="module")
def vae() -> AutoencoderKLLTXVideo:
    torch.manual_seed(0)
    return AutoencoderKLLTXVideo.from_pretrained(
        ROOT / "starter/checkpoints/video", subfolder="vae", local_files_only=True, use_safetensors=True
    ).eval()


def test_ltx_2s_tiles_are_diffusers_own_frames(tmp_path: Path) -> None:
    from diffusers import AutoencoderKLLTX2Video

    path = tiny_pipelines.build("ltx2", tmp_path / "ltx2") / "vae"
    vae = AutoencoderKLLTX2Video.from_pretrained(path, local_files_only=True, use_safetensors=True).eval()
    test_tiles_are_diffusers_own_frames(vae, 16, 57, False)


@pytest.mark.parametrize(("tile", "frames"), [(16, 25), (16, 57), (24, 57), (32, 33), (32, 65), (64, 65)])
@pytest.mark.parametrize("space", [False, True])
def test_tiles_are_diffusers_own_frames(vae: AutoencoderKLLTXVideo, tile: int, frames: int, space: bool) -> None:
    assert supports_tiles(vae)
    latents = torch.randn(1, vae.config.latent_channels, (frames - 1) // vae.temporal_compression_ratio + 1, 2, 2)
    temb = torch.tensor([0.05]) if vae.config.timestep_conditioning else None
    vae.use_tiling = space
    vae.tile_sample_min_height = vae.tile_sample_min_width = 48
    vae.tile_sample_stride_height = vae.tile_sample_stride_width = 32
    before = dict(vars(vae))
    try:
        found: list[torch.Tensor] = []
        with torch.no_grad(), decode_in_tiles(vae, tile, found.append):
            first = vae.decode(latents, temb, return_dict=False)[0]
        assert vars(vae) == before  # nothing of it stays
        vae.use_framewise_decoding = True
        vae.tile_sample_min_num_frames, vae.tile_sample_stride_num_frames = tile, tile - 8
        with torch.no_grad():
            whole = vae.decode(latents, temb, return_dict=False)[0]
        assert torch.equal(torch.cat(found, 2), whole)
        assert whole.shape[2] == frames
        assert torch.equal(first, whole[:, :, :1])
        assert len(found) > 1
    finally:
        vae.use_framewise_decoding = vae.use_tiling = False


def test_a_film_of_one_tile_is_decoded_as_ever(vae: AutoencoderKLLTXVideo) -> None:
    latents = torch.randn(1, vae.config.latent_channels, 3, 2, 2)
    temb = torch.tensor([0.05]) if vae.config.timestep_conditioning else None
    with torch.no_grad():
        whole = vae.decode(latents, temb, return_dict=False)[0]
        with decode_in_tiles(vae, 64, lambda _: pytest.fail("a tile")):
            assert torch.equal(vae.decode(latents, temb, return_dict=False)[0], whole)


def test_a_reader_that_goes_away_ends_the_decoding(vae: AutoencoderKLLTXVideo) -> None:
    def gone(_: torch.Tensor) -> None:
        raise KeyError

    latents = torch.randn(1, vae.config.latent_channels, 8, 2, 2)
    temb = torch.tensor([0.05]) if vae.config.timestep_conditioning else None
    with torch.no_grad(), pytest.raises(KeyError), decode_in_tiles(vae, 16, gone):
        vae.decode(latents, temb)
    assert not vae.use_framewise_decoding
