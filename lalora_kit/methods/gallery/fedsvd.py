"""FedSVD (arXiv 2505.12805, NeurIPS 2025): clients train B; the server takes the SVD of B̄·A as the next factors.

The rows of B̄·A lie in those of A, so the row space never moves: under SGD this is FFA-LoRA from an orthonormal A
(`ffa-lora-qr`), whose noise is turned. Only an optimiser that looks at single entries tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from lalora_kit.engine.adapters import Adapter, average
from lalora_kit.methods.algebra import by_layer, svd_of_product
from lalora_kit.methods.baselines import only_b
from lalora_kit.methods.gallery.ffa_qr import orthonormal_a
from lalora_kit.methods.hooks import counted
from lalora_kit.methods.method import About, Method


def refactored(
    broadcast: Adapter, clients: Sequence[Adapter], weights: Sequence[float], trained: frozenset[str]
) -> Adapter:
    """The mean of B, then U·Σ as B and Vᵀ as A, of B̄·A = U·Σ·Vᵀ."""
    mean = average(broadcast, clients, weights, trained)

    def turned(name: str) -> dict:
        A, B = mean.tensors["A", name].double(), mean.tensors["B", name].double()
        U, S, Vh = svd_of_product(B, A, len(A))
        return {"A": Vh, "B": U * S}

    return by_layer(mean, turned)


def both_down(drawn: Adapter, clients: int) -> tuple[float, float]:
    """B up; both factors down."""
    return counted(drawn, lambda m, n, r: r * m), counted(drawn, lambda m, n, r: r * (m + n))


FEDSVD = Method(
    "fedsvd", "arXiv 2505.12805, NeurIPS 2025", only_b, aggregate=refactored, begins=orthonormal_a,
    traffic=both_down,
    about=About(
        does="trains B; the server makes the SVD of the mean product the next A and B",
        trains="B", sends="rm up, r(m+n) down", exact="exact: all have the same A", sums="yes",
        privacy="noise on rm numbers; the SVD is post-processing",
        changed="A is orthonormal from the first round on, not from the second; ε gives no credit for the "
        "draw of who joins a round",
    ),
)  # fmt: skip
