"""FedEx-LoRA (arXiv 2410.09432, ACL 2025): means of factors, and what that loses is merged into the base.

W += s·(Σ wᵢBᵢAᵢ − B̄Ā), so that the weight is the exact mean, and clients go on from Ā and B̄.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, average
from lalora_kit.methods.algebra import deviations, merged, with_base
from lalora_kit.methods.baselines import together
from lalora_kit.methods.hooks import counted
from lalora_kit.methods.method import About, Method


def with_residual(
    broadcast: Adapter, clients: Sequence[Adapter], weights: Sequence[float], trained: frozenset[str]
) -> Adapter:
    """FedAvg of the factors, and the residual Σ wᵢ(Bᵢ−B̄)(Aᵢ−Ā) in the base."""
    mean = average(broadcast, clients, weights, trained)

    def residual(name: str) -> Tensor:
        dB, dA = deviations(clients, weights, mean, name)
        w = torch.tensor(weights, dtype=torch.float64, device=dA.device)
        return mean.scale * torch.einsum("c,cmr,crn->mn", w, dB, dA)

    return merged(mean, {name: residual(name) for name in mean.of("A")})


def and_residual(drawn: Adapter, clients: int) -> tuple[float, float]:
    """Both factors up; both and a dense residual down."""
    return counted(drawn, lambda m, n, r: r * (m + n)), counted(drawn, lambda m, n, r: r * (m + n) + m * n)


FEDEX = Method(
    "fedex", "arXiv 2410.09432, ACL 2025", together, aggregate=with_residual, begins=with_base,
    traffic=and_residual,
    about=About(
        does="trains A and B; averages both, and merges what that loses into the base",
        trains="A and B", sends="r(m+n) up, r(m+n) and the residual (at most mn) down", exact="exact",
        sums="no: the residual needs each client's factors",
        privacy="noise on r(m+n) numbers; its product with itself falls with 1/N, not 1/N²",
        changed="means are weighted by the clients' sizes, where the code takes plain ones",
    ),
)  # fmt: skip
