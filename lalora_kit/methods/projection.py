"""The projected gradient of LA-LoRA's Theorem 2, damped; off by default.

The gradient of one factor, divided by the other factor's Gram matrix, moves W by the projection of the full
gradient: s·∇̃_B·A = G·P_A and s·B·∇̃_A = P_B·G. It is post-processing, but it also shapes the noise, whose energy
grows without bound as the other factor vanishes; the damping λ keeps that finite.
"""

from __future__ import annotations

import torch
from torch import Tensor


def projected(gradient: Tensor, factor: str, other: Tensor, scale: float, damping: float) -> Tensor:
    """(1/s²)·∇_B·(A·Aᵀ + λI)⁻¹ for factor "B" `(..., m, r)`, (1/s²)·(Bᵀ·B + λI)⁻¹·∇_A for "A" `(..., r, n)`.

    `other` is the factor that stands still, A `(..., r, n)` or B `(..., m, r)`; `damping` is λ > 0.
    """
    gram = other @ other.mT if factor == "B" else other.mT @ other  # (..., r, r)
    gram = gram + damping * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    # Not `solve`, which waits for the device to learn whether a matrix was singular: with λ none is.
    if factor == "B":
        return torch.linalg.solve_ex(gram, gradient.mT)[0].mT / scale**2  # the Gram matrix is symmetric
    return torch.linalg.solve_ex(gram, gradient)[0] / scale**2
