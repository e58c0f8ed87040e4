"""Batches whose images equal, bit for bit, the results of single requests.

Kernel libraries choose the order of summation by the shape of the whole batch, so an image in a batch differs from the
same image alone by rounding. Here every matrix product is computed image by image, with the shapes of a single request:
the rows that guidance adds to an image (without and with its prompt) stay together. Everything else (norms,
activations, samplers) treats rows independently anyway, and stays one call for the batch. For small models, most of the
speedup of batches comes from these other operations (docs/images.md).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

EXACT = frozenset(
    (
        "FluxPipeline",
        "QwenImagePipeline",
        "StableDiffusion3Pipeline",
        "StableDiffusionPipeline",
        "StableDiffusionXLPipeline",
    )
)
"""Pipelines for which tests prove equality. Others (Z-Image joins the tokens of all rows) run without batches."""
MAX_FLAT_ROWS = 64
"""A matrix with more rows than any batch contains tokens, not images."""


def image_by_image(images: int) -> AbstractContextManager[Any]:
    """Makes torch compute matrix products and convolutions image by image within the context.

    Args:
        images: Of the batch. Tensors have one row for each, or several: those of the first image are row 0, row
            `images`, and so on. 0: nothing is changed.
    """
    return _mode()(images) if images else nullcontext()


@cache
def _mode() -> Any:
    import torch
    from torch.nn import functional
    from torch.overrides import TorchFunctionMode

    products: frozenset[Callable[..., Any]] = frozenset(
        (
            functional.linear,
            functional.conv1d,
            functional.conv2d,
            functional.conv3d,
            functional.conv_transpose2d,
            functional.scaled_dot_product_attention,
        )
    )

    class ImageByImage(TorchFunctionMode):
        """Splits products along the first axis; leaves other functions unchanged."""

        def __init__(self, images: int) -> None:
            super().__init__()
            self._images = images

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func not in products and func is not functional.group_norm:
                return func(*args, **kwargs)
            if func is functional.scaled_dot_product_attention:
                return self._attention(func, len(args[0] if args else kwargs["query"]), args, kwargs)
            first, rest = args[0], args[1:]
            # Kernels also depend on the memory layout, which may differ between one image and several.
            layout = _layout(first if func is functional.group_norm else rest[0])
            flat = first.dim() < 3 and len(first) > MAX_FLAT_ROWS
            if func is functional.group_norm or flat or not self._splits(len(first)):
                return func(first.contiguous(memory_format=layout), *rest, **kwargs)
            pieces = (first[image :: self._images] for image in range(self._images))
            return _joined([func(piece.contiguous(memory_format=layout), *rest, **kwargs) for piece in pieces])

        def _splits(self, rows: int) -> bool:
            """Whether a tensor of that many rows has those of several images."""
            return self._images > 1 and rows % self._images == 0

        def _attention(self, func: Any, rows: int, args: Any, kwargs: dict[str, Any]) -> Any:
            """Splits queries, keys, values and, if it has rows of each image, the mask."""

            def piece(value: Any, image: int) -> Any:
                split = isinstance(value, torch.Tensor) and value.dim() == 4 and value.shape[0] == rows
                return value[image :: self._images] if split else value

            if not self._splits(rows):
                return func(*args, **kwargs)
            results = [
                func(*(piece(one, image) for one in args), **{name: piece(one, image) for name, one in kwargs.items()})
                for image in range(self._images)
            ]
            return _joined(results)

    def _layout(tensor: Any) -> Any:
        """Channels last, if a tensor is stored so (`ImageOptions.channels_last`)."""
        last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
        return torch.channels_last if last and not tensor.is_contiguous() else torch.contiguous_format

    def _joined(results: list[Any]) -> Any:
        """The rows of all images in the order of the batch."""
        return torch.cat([result[row : row + 1] for row in range(len(results[0])) for result in results])

    return ImageByImage
