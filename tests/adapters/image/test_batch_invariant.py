"""Batches that are computed image by image: how many kernels they take, and which memory layout they keep."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from adapters.image.batch_invariant import image_by_image


class Kernels(TorchDispatchMode):
    """Counts calls of operators that compute, on any device."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and "detach" not in str(func):
            self.calls[str(func)] += 1
        return func(*args, **(kwargs or {}))


def sdxl_like() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16, block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=64,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, transformer_layers_per_block=(1, 2), projection_class_embeddings_input_dim=112,
    ).eval()  # fmt: skip


def step(unet: Any, rows: int, device: str) -> Any:
    """One step of denoising."""
    make = torch.Generator("cpu").manual_seed(0)
    single = torch.randn(1, 4, 16, 16, generator=make).to(device)
    words, pooled = torch.randn(1, 77, 64, generator=make).to(device), torch.randn(1, 64, generator=make).to(device)
    times = torch.zeros(rows, 6, device=device)
    return unet(
        single.expand(rows, -1, -1, -1).clone(), torch.tensor(500, device=device), words.expand(rows, -1, -1).clone(),
        added_cond_kwargs={"text_embeds": pooled.expand(rows, -1).clone(), "time_ids": times}, return_dict=False,
    )[0]  # fmt: skip


def kernels(images: int, rows: int, *, exact: bool) -> int:
    unet = sdxl_like().to("meta")
    with torch.no_grad(), Kernels() as counted, image_by_image(images if exact else 0):
        step(unet, rows, "meta")
    return counted.calls.total()


def test_one_guided_image_takes_as_many_kernels_as_a_plain_call() -> None:
    plain = kernels(1, 2, exact=False)
    assert kernels(1, 2, exact=True) <= 1.02 * plain, "its two rows, without and with the prompt, stay together"
    several = kernels(4, 8, exact=True)
    assert several < 4.5 * plain
    assert several > 2 * plain, "each product is computed for each image"


def test_the_rows_of_an_image_stay_together_and_in_order() -> None:
    rows = torch.randn(6, 5, 8)
    weight = torch.randn(3, 8)
    with image_by_image(3):
        found = torch.nn.functional.linear(rows, weight)
    for image in range(3):
        with image_by_image(1):
            alone = torch.nn.functional.linear(rows[[image, image + 3]], weight)
        assert torch.equal(found[[image, image + 3]], alone)


@pytest.mark.parametrize("images", [1, 4])
def test_channels_last_is_kept(images: int) -> None:
    seen: list[bool] = []

    def hook(module: Any, args: Any, output: Any) -> None:
        seen.append(output.is_contiguous(memory_format=torch.channels_last))

    unet = sdxl_like().to(memory_format=torch.channels_last)
    for module in unet.modules():
        if isinstance(module, torch.nn.Conv2d) and module.out_channels > 4:
            module.register_forward_hook(hook)
    with torch.no_grad(), image_by_image(images):
        batch = step(unet, 2 * images, "cpu")
    assert seen
    assert all(seen)
    with torch.no_grad(), image_by_image(1):
        assert torch.equal(batch[[0, images]], step(unet, 2, "cpu"))
