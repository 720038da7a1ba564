"""Optimisers: how noised gradients move the clients' tensors. All of it is post-processing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.methods.method import Method
from lalora_kit.methods.projection import projected
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
        if kind == "head":
            return gradient
        if self.precondition is not None:
            other = self.local.tensors["B" if kind == "A" else "A", name]
            gradient = projected(gradient, kind, other, self.local.scale, self.precondition)
        return method.smooth(gradient, kind)
