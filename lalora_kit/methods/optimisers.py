"""Optimisers: how noised gradients move the clients' tensors. All of it is post-processing.

The projected gradient of LA-LoRA's Theorem 2, damped, is off by default. The gradient of one factor, divided by the
other factor's Gram matrix, moves W by the projection of the full gradient: s·∇̃_B·A = G·P_A and s·B·∇̃_A = P_B·G. It
also shapes the noise, whose energy grows without bound as the other factor vanishes; the damping λ keeps that finite.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.methods.method import BOTH, Method
from lalora_kit.settings import Settings


class Optimisers:
    """The clients' optimisers up to an exchange, over the stack of their tensors; state starts fresh after each.

    torch's own SGD or AdamW: elementwise, so that a stack of clients is as good as one optimiser each. A tensor
    without a gradient is skipped by them whole: neither decayed nor counted, as an inactive factor must be.
    """

    def __init__(self, local: Adapter, settings: Settings, t: int) -> None:
        self.local, self.precondition = local, settings.precondition
        decay = settings.lr_decay ** (t - 1)
        rates = {"head": settings.head_learning_rate * decay}
        groups = [
            {"params": [value], "lr": rates.get(kind, settings.learning_rate * decay)}
            for (kind, _), value in local.own().items()
        ]
        family = torch.optim.SGD if settings.optimizer == "sgd" else torch.optim.AdamW
        self.optimiser = family(groups, weight_decay=settings.weight_decay)

    def apply(self, gradients: Mapping[Key, Tensor], method: Method) -> None:
        """Post-process the noised gradients as the method asks, and move. Line 9 of the algorithm in lesson 04."""
        for key, value in self.local.own().items():
            value.grad = self._processed(key, gradients[key], method) if key in gradients else None
        self.optimiser.step()

    def _processed(self, key: Key, gradient: Tensor, method: Method) -> Tensor:
        kind, name = key
        if kind not in BOTH:  # the head, or what a method of one's own trains beside the factors
            return gradient
        if self.precondition is not None:
            other = self.local.tensors["B" if kind == "A" else "A", name]
            gradient = projected(gradient, kind, other, self.local.scale, self.precondition)
        return method.smooth(gradient, kind)


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
