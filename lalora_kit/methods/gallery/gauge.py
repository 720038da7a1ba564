"""LA-LoRA without the gauge: before each step the factor that stands is made orthonormal, the other absorbs the rest.

B·A is also (B·Q)·(Q⁻¹·A), and a clip of a factor's gradient depends on which of them it meets. With orthonormal rows of
A, the gradient of B is as long as the move of W that it makes, and its noise in W is that of r·m numbers, where it is
m·‖A‖² of a raw A. What differs from LA-LoRA is this alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from lalora_kit.engine.adapters import Adapter
from lalora_kit.methods.algebra import nearest_orthonormal
from lalora_kit.methods.filter import binomial_smooth
from lalora_kit.methods.la_lora import alternate
from lalora_kit.methods.method import About, B, Method


def fixed_gauge(local: Adapter, clients: Sequence[int], round: int, step: int) -> None:
    """Of the factor that stands at this step, the nearest orthonormal one; the other takes what is left, in place."""
    for name, A in local.of("A").items():
        B_ = local.tensors["B", name]
        if alternate(round, step) == B:
            Q, P = nearest_orthonormal(A.mT)  # A = P·Qᵀ
            A.copy_(Q.mT)
            B_.copy_(B_.double() @ P)
        else:
            Q, P = nearest_orthonormal(B_)
            B_.copy_(Q)
            A.copy_(P @ A.double())


LA_LORA_GAUGE = Method(
    "la-lora-gauge", "control of arXiv 2602.19926: alternation in a fixed gauge", alternate, binomial_smooth,
    least_local_steps=2, between=fixed_gauge, optimizers=("sgd",),
    about=About(
        does="LA-LoRA; before each step the standing factor is made orthonormal and the other absorbs the rest",
        trains="B and A in turn", sends="r(m+n) up, r(m+n) down", exact="not exact: factors are averaged", sums="yes",
        privacy="noise on rm or rn numbers, of energy rm or rn in W, however large a factor is",
        changed="ours: tells alternation from the gauge; SGD alone",
    ),
)  # fmt: skip
