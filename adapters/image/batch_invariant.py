"""Batches whose rows are, to the last bit, what each row gives alone.

Libraries of matrix kernels choose how to sum by the shape of the whole batch, so that an image among others differs
from the same image alone in a rounding here and there. With every product computed row by row all shapes are those of
one row, and so are the sums; what lies between the products (norms, activations, samplers) works on each row for itself
anyway and stays one call for all. For small models most of what a batch gains is in there (docs/images.md).
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
"""Pipelines of which tests show it. Others (Z-Image lays the tokens of all rows end to end) are run one by one."""
MAX_FLAT_ROWS = 64
"""A matrix of more rows than a batch has holds tokens, not images."""


def row_by_row(wanted: bool) -> AbstractContextManager[Any]:
    """Within it, torch computes matrix products and convolutions row by row, where `wanted`."""
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
        """Splits the first axis of products; everything else passes."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func not in products and func is not functional.group_norm:
                return func(*args, **kwargs)
            if func is functional.scaled_dot_product_attention:
                return _attention(func, len(args[0] if args else kwargs["query"]), args, kwargs)
            first, rest = args[0], args[1:]
            # Kernels also go by how the numbers lie, which may be another for several rows than for one.
            if func is functional.group_norm or first.shape[0] < 2 or (first.dim() < 3 and len(first) > MAX_FLAT_ROWS):
                return func(first.contiguous(), *rest, **kwargs)
            return torch.cat([func(row.contiguous(), *rest, **kwargs) for row in first.split(1)])

    def _attention(func: Any, rows: int, args: Any, kwargs: dict[str, Any]) -> Any:
        """Queries, keys, values and, where it has a row for each, the mask."""

        def row(value: Any, at: int) -> Any:
            split = isinstance(value, torch.Tensor) and value.dim() == 4 and value.shape[0] == rows
            return value[at : at + 1] if split else value

        if rows < 2:
            return func(*args, **kwargs)
        parts = [
            func(*(row(one, at) for one in args), **{name: row(one, at) for name, one in kwargs.items()})
            for at in range(rows)
        ]
        return torch.cat(parts)

    return RowByRow
