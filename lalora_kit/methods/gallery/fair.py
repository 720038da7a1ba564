"""LoRA-FAIR (arXiv 2411.14961, ICCV 2025): means of factors, and a correction of B̄ towards the mean product.

ΔB = (D − B̄Ā)Āᵀ(ĀĀᵀ + λI)⁻¹ with D = Σ wᵢBᵢAᵢ: the minimum of ‖D − (B̄+ΔB)Ā‖² + λ‖ΔB‖².
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, average
from lalora_kit.methods.algebra import by_layer, deviations
from lalora_kit.methods.baselines import together
from lalora_kit.methods.method import About, Method

DAMPING = 0.01  # λ, as the paper has it


def corrected(
    damping: float, broadcast: Adapter, clients: Sequence[Adapter], weights: Sequence[float], trained: frozenset[str]
) -> Adapter:
    """FedAvg of the factors, with ΔB added to the mean of B; λ is `damping` > 0."""
    mean = average(broadcast, clients, weights, trained)

    def mended(name: str) -> dict[str, Tensor]:
        A, B = mean.tensors["A", name].double(), mean.tensors["B", name].double()
        dB, dA = deviations(clients, weights, mean, name)
        w = torch.tensor(weights, dtype=torch.float64, device=A.device)
        lost = torch.einsum("c,cmr,crq->mq", w, dB, dA @ A.mT)  # (D − B̄Ā)Āᵀ (m, r), without an m×n matrix
        gram = A @ A.mT + damping * torch.eye(len(A), dtype=torch.float64, device=A.device)
        return {"B": B + torch.linalg.solve(gram, lost.mT).mT}

    return by_layer(mean, mended)


def ridge(broadcast: Adapter, clients: Sequence[Adapter], weights: Sequence[float], trained: frozenset[str]) -> Adapter:
    """`corrected` at the paper's λ."""
    return corrected(DAMPING, broadcast, clients, weights, trained)


LORA_FAIR = Method(
    "lora-fair", "arXiv 2411.14961, ICCV 2025", together, aggregate=ridge,
    about=About(
        does="trains A and B; averages both, and corrects B's mean towards the mean product",
        trains="A and B", sends="r(m+n) up, r(m+n) down",
        exact="not exact: what lies outside the rows of A's mean is lost, and λ‖ΔB‖² holds back the rest",
        sums="no: the target needs each client's factors",
        privacy="noise on r(m+n) numbers; the target's product of noise with itself falls with 1/N, not 1/N²",
        changed="the discrepancy is the squared distance, solved exactly, in place of a cosine that is descended",
    ),
)  # fmt: skip
