"""LA-LoRA without the gauge: before each step the factor that stands is made orthonormal, the other absorbs the rest.

B·A is also (B·Q)·(Q⁻¹·A), and a clip of a factor's gradient depends on which of them it meets. With orthonormal rows of
A, the gradient of B is as long as the move of W that it makes, and its noise in W is that of r·m numbers, where it is
m·‖A‖² of a raw A. Clients' factors are then in gauges of their own, whose means would mean nothing: so the server
averages products, and cuts the mean to rank r.
"""

from __future__ import annotations

from collections.abc import Sequence

from lalora_kit.engine.adapters import Adapter
from lalora_kit.methods.algebra import rows_apart
from lalora_kit.methods.filter import binomial_smooth
from lalora_kit.methods.gallery.flexlora import best_of_rank
from lalora_kit.methods.la_lora import alternate
from lalora_kit.methods.method import About, B, Method


def fixed_gauge(local: Adapter, clients: Sequence[int], round: int, step: int) -> None:
    """The factor that stands at this step gets orthonormal rows or columns; the other takes the rest, in place."""
    for name, A in local.of("A").items():
        B_ = local.tensors["B", name]
        if alternate(round, step) == B:
            R, Q = rows_apart(A)  # A = R·Q
            A.copy_(Q)
            B_.copy_(B_.double() @ R)
        else:
            R, Q = rows_apart(B_.mT)  # B = Qᵀ·Rᵀ
            B_.copy_(Q.mT)
            A.copy_(R.mT @ A.double())


LA_LORA_GAUGE = Method(
    "la-lora-gauge", "control of arXiv 2602.19926: alternation in a fixed gauge", alternate, binomial_smooth,
    aggregate=best_of_rank, least_local_steps=2, between=fixed_gauge, optimizers=("sgd",),
    about=About(
        does="LA-LoRA; before each step the standing factor is made orthonormal and the other absorbs the rest",
        trains="B and A in turn", sends="r(m+n) up, r(m+n) down", exact="exact before it is cut to rank r",
        sums="no: the server must see each client's factors",
        privacy="noise on rm or rn numbers, of energy rm or rn in W however large a factor is, a quarter of it after "
        "the filter; its product with itself falls with 1/N, not 1/N²",
        changed="ours: tells alternation from the gauge; products are averaged, for means of factors in different "
        "gauges lose most of them; SGD alone",
    ),
)  # fmt: skip
