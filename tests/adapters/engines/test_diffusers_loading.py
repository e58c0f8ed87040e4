"""How pipelines are loaded: fp16 files, straight to the device, with a scheduler that the pipeline can run."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapters.base import ModelFiles
from adapters.engines import diffusers as engine
from adapters.engines.diffusers import PipelineOptions, half_variant, images_to_bytes, load_pipeline
from adapters.errors import GenerationFailed
from adapters.memory.weight_files import directory_bytes, safetensors_files

STARTER = Path(__file__).parents[3] / "starter" / "checkpoints"
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture
def fp16_only(tmp_path: Path) -> Path:
    """The starter's image model as a repository that has float16 files alone."""
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(STARTER / "image", local_files_only=True)
    pipeline.to(torch.float16).save_pretrained(tmp_path / "fp16", variant="fp16")
    return tmp_path / "fp16"


def loaded(path: Path, **options: Any) -> Any:
    from diffusers import StableDiffusionXLPipeline

    files = ModelFiles("m", "diffusers-image", str(path), options)
    return load_pipeline(StableDiffusionXLPipeline, files, PipelineOptions.of(files), "float16", add_watermarker=False)


def test_a_repository_of_float16_files_is_loaded(fp16_only: Path) -> None:
    assert half_variant(fp16_only, "float32")
    pipeline = loaded(fp16_only)
    assert pipeline.unet.dtype == pipeline.text_encoder.dtype == torch.float32, "the dtype of a CPU"
    assert directory_bytes(fp16_only / "unet", "float32") == 4 * sum(p.numel() for p in pipeline.unet.parameters())


def test_float16_files_are_read_where_they_are_wanted(fp16_only: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(STARTER / "image", both)
    for path in fp16_only.glob("*/*.fp16.safetensors"):
        shutil.copy(path, both / path.relative_to(fp16_only))
    assert half_variant(both, "float16")
    assert not half_variant(both, "float32")
    assert not half_variant(STARTER / "image", "float16")
    assert [path.name for path in safetensors_files(both / "unet")] == ["diffusion_pytorch_model.safetensors"]
    (both / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert loaded(both, dtype="float16").unet.dtype == torch.float16


def test_weights_go_straight_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import StableDiffusionXLPipeline

    seen: list[dict[str, Any]] = []
    load = StableDiffusionXLPipeline.from_pretrained

    def noted(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs)
        return load(*args, **(kwargs | {"device_map": "cpu", "dtype": torch.float32}))

    monkeypatch.setattr(StableDiffusionXLPipeline, "from_pretrained", noted)
    monkeypatch.setattr(engine, "device_of", lambda options: "cuda")
    loaded(STARTER / "image")
    assert (seen[0]["device_map"], seen[0]["dtype"]) == ("cuda", torch.float16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_pixels_become_the_same_bytes_as_on_the_cpu(dtype: torch.dtype) -> None:
    pixels = torch.rand(3, 3, 17, 23).to(dtype)
    before = (pixels.cpu().permute(0, 2, 3, 1).float().numpy() * 255).round().clip(0, 255).astype(np.uint8)
    assert np.array_equal(images_to_bytes(pixels), before)
    pixels[1, 0, 3, 4] = float("nan")
    with pytest.raises(GenerationFailed, match="NaN"):
        images_to_bytes(pixels)


def test_only_bytes_leave_the_device() -> None:
    from unittest.mock import patch

    moved: list[tuple[torch.dtype, int]] = []
    copy = torch.Tensor.cpu

    def noted(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved.append((tensor.dtype, tensor.nbytes))
        return copy(tensor, *args, **kwargs)

    with patch.object(torch.Tensor, "cpu", noted):
        images_to_bytes(torch.rand(2, 3, 8, 8))
    assert moved == [(torch.uint8, 2 * 3 * 8 * 8)]
