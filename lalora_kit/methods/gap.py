"""The aggregation gap: what a server that averages factors loses against the average of their products."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter


def aggregation_gap(clients: Sequence[Adapter], weights: Sequence[float]) -> float:
    """‖Σ wᵢBᵢAᵢ − B̄Ā‖ / ‖Σ wᵢBᵢAᵢ‖ over all layers: what averaging factors loses against averaging products.

    Computed from r·N-sized Gram matrices through Σ wᵢ(Bᵢ−B̄)(Aᵢ−Ā), which equals it exactly, so it
    is exactly 0 where all A or all B are equal. NaN while every product is zero.
    """
    w = torch.tensor(weights, dtype=torch.float64, device=next(iter(clients[0].tensors.values())).device)
    both = torch.zeros(2, dtype=torch.float64, device=w.device)  # what was lost, and all of it
    for name in clients[0].of("A"):
        A = torch.stack([c.tensors["A", name].double() for c in clients])  # (N, r, n)
        B = torch.stack([c.tensors["B", name].double() for c in clients])  # (N, m, r)
        mean_A, mean_B = torch.einsum("c,crn->rn", w, A), torch.einsum("c,cmr->mr", w, B)
        # Where a factor never differed its deviation is 0, not the rounding of a mean.
        dA = torch.where((A[0] == A).all(0), torch.zeros_like(A), A - mean_A)
        dB = torch.where((B[0] == B).all(0), torch.zeros_like(B), B - mean_B)
        both += torch.stack([squared_norm(w, dB, dA), squared_norm(w, B, A)])
    lost, total = both.tolist()
    # Nine digits: matrix products may round their last bits differently from one process to the next.
    return float(f"{math.sqrt(max(lost, 0.0) / total):.9g}") if total > 0 else math.nan


def squared_norm(weights: Tensor, B: Tensor, A: Tensor) -> Tensor:
    """‖Σ wᵢBᵢAᵢ‖_F² for stacks `(N, m, r)` and `(N, r, n)`, without forming an m×n matrix."""
    left = (weights[:, None, None] * B).permute(1, 0, 2).flatten(1)  # (N, m, r) -> (m, N·r)
    right = A.flatten(0, 1)  # (N, r, n) -> (N·r, n)
    return ((left.T @ left) * (right @ right.T)).sum()
