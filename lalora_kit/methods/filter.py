"""LA-LoRA's filter: [1, 4, 6, 4, 1] / 16 along the long axis of each factor, after the noise.

Rows of ∇A run along the layer's input width n, columns of ∇B along its output width m; rank indices never mix.
With half-sample symmetric padding the filter is a symmetric, doubly stochastic contraction; the
padding that repeats no edge sample is not.
"""

from __future__ import annotations

import torch
from torch import Tensor

KERNEL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
LONG_AXIS = {"A": -1, "B": -2}  # A is (..., r, n), B is (..., m, r)


def binomial_smooth(gradient: Tensor, factor: str) -> Tensor:
    """Smooth a noised gradient `(..., r, n)` of A, or `(..., m, r)` of B, along n or m. Linear; keeps constants.

    Line 8 of the algorithm in lesson 04.
    """
    return smooth_along(gradient, LONG_AXIS[factor])


def smooth_along(values: Tensor, axis: int) -> Tensor:
    """The five-tap binomial filter along one axis, with symmetric padding; a single value stays as it is."""
    size = values.shape[axis]
    if size == 1:
        return values
    # Symmetric padding by two: ... x1 x0 | x0 x1 ... as positions to read from.
    positions = torch.arange(-2, size + 2, device=values.device)
    positions = torch.where(positions < 0, -1 - positions, positions)
    positions = torch.where(positions >= size, 2 * size - 1 - positions, positions)
    padded = values.index_select(axis, positions)
    return sum(weight * padded.narrow(axis, tap, size) for tap, weight in enumerate(KERNEL))  # type: ignore[return-value]
