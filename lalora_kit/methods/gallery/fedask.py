"""FedASK (arXiv 2507.09990, NeurIPS 2025): the mean product from two sums, so that no client's factors are seen.

Y = Σ wᵢBᵢ(AᵢΩ) with a public random Ω `(n, width)`; Q from Y's QR goes out; P = Σ wᵢAᵢᵀ(BᵢᵀQ) comes back; the SVD of
Pᵀ is that of the mean product, if the width reaches its rank. Of one A for all that is r.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, average
from lalora_kit.methods.algebra import by_layer
from lalora_kit.methods.baselines import only_b
from lalora_kit.methods.hooks import counted
from lalora_kit.methods.method import About, Method

SKETCH = 20250709


def sketch(n: int, width: int) -> Tensor:
    """Ω `(n, width)`, float64: Gaussian, public, and the same in every round of every run."""
    return torch.from_numpy(np.random.default_rng([SKETCH, n, width]).standard_normal((n, width)))


def two_sums(
    clients: Sequence[Adapter], weights: Sequence[float], name: str, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """U `(m, width)`, S `(width,)` and Vᵀ `(width, n)` of Σ wᵢBᵢAᵢ as far as a sketch of that width shows it."""
    pairs = [(w, c.tensors["A", name].double(), c.tensors["B", name].double())
             for w, c in zip(weights, clients, strict=True)]  # fmt: skip
    omega = sketch(pairs[0][1].shape[1], width).to(pairs[0][1].device)
    Y = torch.stack([w * (B @ (A @ omega)) for w, A, B in pairs]).sum(0)  # first exchange: a sum (m, width)
    Q = torch.linalg.qr(Y)[0]
    P = torch.stack([w * (A.mT @ (B.mT @ Q)) for w, A, B in pairs]).sum(0)  # second exchange: a sum (n, width)
    U, S, Vh = torch.linalg.svd(P.mT, full_matrices=False)
    return Q @ U, S, Vh


def resketched(
    broadcast: Adapter, clients: Sequence[Adapter], weights: Sequence[float], trained: frozenset[str]
) -> Adapter:
    """B = U·√Σ and A = √Σ·Vᵀ of the mean product; where that is zero nothing is turned."""
    mean = average(broadcast, clients, weights, trained)

    def split(name: str) -> dict[str, Tensor]:
        rank = len(mean.tensors["A", name])
        U, S, Vh = two_sums(clients, weights, name, rank)
        if not S.any():
            return {}
        root = S[:rank].sqrt()
        return {"A": root[:, None] * Vh[:rank], "B": U[:, :rank] * root}

    return by_layer(mean, split)


def in_two(drawn: Adapter, clients: int) -> tuple[float, float]:
    """Y and P up; B, Q and A down: the head once each way."""
    return counted(drawn, lambda m, n, r: r * (m + n)), counted(drawn, lambda m, n, r: r * (2 * m + n))


FEDASK = Method(
    "fedask", "arXiv 2507.09990, NeurIPS 2025", only_b, aggregate=resketched,
    traffic=in_two,
    about=About(
        does="trains B; two sums over clients give the SVD of the mean product, split evenly over A and B",
        trains="B", sends="r(m+n) up, r(2m+n) down, in two exchanges",
        exact="exact: all have the same A, and the sketch is as wide as the rank",
        sums="yes: made for it", privacy="noise on rm numbers; the sketch is post-processing",
        changed="A stands in every run, as in the paper's private mode; the busiest client's steps are counted, "
        "not the expected ones",
    ),
)  # fmt: skip
