"""Batches whose rows equal, bit for bit, the results of single requests.

Kernel libraries choose the order of summation by the shape of the whole batch, so an image in a batch differs from the
same image alone by rounding. Here every matrix product is computed row by row, with the shapes of a single request.
Everything else (norms, activations, samplers) treats rows independently anyway, and stays one call for the batch. For
small models, most of the speedup of batches comes from these other operations (docs/images.md).
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


def row_by_row(wanted: bool) -> AbstractContextManager[Any]:
    """Makes torch compute matrix products and convolutions row by row within the context, if `wanted`."""
    return _mode()() if wanted else nullcontext()


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

    class RowByRow(TorchFunctionMode):
        """Splits products along the first axis; leaves other functions unchanged."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func not in products and func is not functional.group_norm:
                return func(*args, **kwargs)
            if func is functional.scaled_dot_product_attention:
                return _attention(func, len(args[0] if args else kwargs["query"]), args, kwargs)
            first, rest = args[0], args[1:]
            # Kernels also depend on the memory layout, which may differ between one row and several.
            if func is functional.group_norm or first.shape[0] < 2 or (first.dim() < 3 and len(first) > MAX_FLAT_ROWS):
                return func(first.contiguous(), *rest, **kwargs)
            return torch.cat([func(row.contiguous(), *rest, **kwargs) for row in first.split(1)])

    def _attention(func: Any, rows: int, args: Any, kwargs: dict[str, Any]) -> Any:
        """Splits queries, keys, values and, if it has a row for each, the mask."""

        def row(value: Any, at: int) -> Any:
            split = isinstance(value, torch.Tensor) and value.dim() == 4 and value.shape[0] == rows
            return value[at : at + 1] if split else value

        if rows < 2:
            return func(*args, **kwargs)
        results = [
            func(*(row(one, at) for one in args), **{name: row(one, at) for name, one in kwargs.items()})
            for at in range(rows)
        ]
        return torch.cat(results)

    return RowByRow
