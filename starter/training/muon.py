"""Muon, an optimizer for matrices: momentum whose singular values are all made about one before each step.

The method is Keller Jordan's (https://kellerjordan.github.io/posts/muon/), with the coefficients given there. On this
project's autoencoder, 300 steps of it did what AdamW had not done in 1,000.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

ROUNDS = 5
A, B, C = 3.4445, -4.7750, 2.0315


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with the singular vectors of the given one and singular values near one (0.7 to 1.2)."""
    wide = matrix.bfloat16()
    tall = wide.shape[0] > wide.shape[1]
    wide = wide.T if tall else wide
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(ROUNDS):
        square = wide @ wide.T
        wide = A * wide + (B * square + C * square @ square) @ wide
    return (wide.T if tall else wide).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """For weights of two and more axes; a kernel counts as a matrix of one row for each output."""

    def __init__(self, weights: Iterable[Tensor], lr: float, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        """Momentum is Nesterov's; the decay is apart from the gradient, as AdamW's."""
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Moves every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].mul_(group["momentum"]).add_(weight.grad)
                ahead = weight.grad + group["momentum"] * momentum
                rows = ahead.flatten(1)
                stretch = max(1.0, rows.shape[0] / rows.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(orthogonal(rows).view_as(weight), alpha=-group["lr"] * stretch)
