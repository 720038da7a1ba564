"""DEeR (arXiv 2410.12926, IEEE TMI): B and A in phases, each averaged before the next; noise shaped to fit W.

Noise on A is (BᵀB)⁻¹Bᵀ·W_n for an m×n Gaussian W_n, so that B times it is the projection of W_n, however large B is.
Such noise is white in the coordinates (BᵀB)^½·∇A, whose norm is that of B·∇A: clipped there, its multiplier is σ.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.methods.hooks import Chart
from lalora_kit.methods.method import A, About, B, Method

PHASE = 2  # local steps
DAMPING = 1e-3  # λ: keeps (BᵀB + λI)⁻¹ finite while B is small


def in_phases(round: int, step: int) -> frozenset[str]:
    """Two steps of B, two of A, and so on; the count restarts each round."""
    return A if (step - 1) // PHASE % 2 else B


def after_each_phase(local_steps: int) -> frozenset[int]:
    """Clients and server exchange after each phase, and at the round's end."""
    return frozenset({*range(PHASE, local_steps, PHASE), local_steps})


def roots(gram: Tensor) -> tuple[Tensor, Tensor]:
    """(G + λI)^½ and (G + λI)^−½ of Gram matrices `(clients, r, r)`."""
    values, vectors = torch.linalg.eigh(gram.double())
    root = (values.clamp_min(0.0) + DAMPING).sqrt()[:, None, :]
    return (vectors * root) @ vectors.mT, (vectors / root) @ vectors.mT


def shaped(local: Adapter, active: Sequence[Key]) -> Chart:
    """Coordinates in which DEeR's noise is white: (BᵀB+λI)^½·∇A, and ∇B·(AAᵀ+λI)^½."""
    chart = Chart({}, {}, {}, {})
    for kind, name in active:
        if kind == "A":
            B_ = local.tensors["B", name]
            chart.left["A", name], chart.back_left["A", name] = roots(B_.mT @ B_)
        elif kind == "B":
            A_ = local.tensors["A", name]
            chart.right["B", name], chart.back_right["B", name] = roots(A_ @ A_.mT)
    return chart


DEER = Method(
    "deer", "arXiv 2410.12926, IEEE TMI", in_phases, least_local_steps=2 * PHASE, exchanges=after_each_phase,
    chart=shaped,
    about=About(
        does="two steps of B, averaged, then two of A, averaged; noise is shaped by the standing factor",
        trains="B and A in turn", sends="r(m+n) up, r(m+n) down, in two exchanges for four steps",
        exact="exact in each phase: all have the same other factor",
        sums="yes", privacy="noise on rm or rn numbers, in coordinates where a step's noise in W is that of r·m or r·n "
        "numbers, however large a factor is",
        changed="each sample is clipped, in place of a client's update; the norm is that of the move of W (the paper's "
        "is the factor's, at which its σ holds only while the other factor's norm is at most 1); λ=0.001 is added",
    ),
)  # fmt: skip
