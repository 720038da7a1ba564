"""FlexLoRA (arXiv 2402.11505, NeurIPS 2024): the SVD of the mean product, cut to each client's rank.

Nothing is merged; the best product of rank r goes on. `flexlora-unequal` has clients of rank r, r/2 and r/4 in turn,
and each gets the first of the singular directions.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lalora_kit.engine.adapters import Adapter, average
from lalora_kit.methods.algebra import by_layer, stacked, svd_of_product
from lalora_kit.methods.baselines import together
from lalora_kit.methods.gallery.flora import by_thirds, mean_rank
from lalora_kit.methods.hooks import counted
from lalora_kit.methods.method import NONE, About, Method


def best_of_rank(
    broadcast: Adapter, clients: Sequence[Adapter], weights: Sequence[float], trained: frozenset[str]
) -> Adapter:
    """B = U_r·Σ_r and A = V_rᵀ of the mean product; its error is √Σ_{j>r} σⱼ²."""
    mean = average(broadcast, clients, weights, NONE)

    def cut(name: str) -> dict[str, Tensor]:
        U, S, Vh = svd_of_product(*stacked(clients, weights, name), len(mean.tensors["A", name]))
        return {"A": Vh, "B": U * S}

    return by_layer(mean, cut)


FLEXLORA = Method(
    "flexlora", "arXiv 2402.11505, NeurIPS 2024", together, aggregate=best_of_rank,
    about=About(
        does="trains A and B; the server sends the best rank-r product of the mean",
        trains="A and B", sends="r(m+n) up, r(m+n) down", exact="exact before it is cut to rank r",
        sums="no: the server must see each client's factors",
        privacy="noise on r(m+n) numbers; its product with itself falls with 1/N, not 1/N²",
        changed="A is orthonormal and B has the singular values, as in the code; the even split is not offered",
    ),
)  # fmt: skip


def by_rank(drawn: Adapter, clients: int) -> tuple[float, float]:
    """Both factors at a client's own rank, up and down."""
    return (each := counted(drawn, lambda m, n, r: mean_rank(r, clients) * (m + n))), each


FLEXLORA_UNEQUAL = Method(
    "flexlora-unequal", "arXiv 2402.11505, NeurIPS 2024: unequal ranks", together, aggregate=best_of_rank,
    between=by_thirds,
    traffic=by_rank,
    about=About(
        does="flexlora, with clients of rank r, r/2 and r/4 in turn",
        trains="A and B, of a client's own rank", sends="rᵢ(m+n) up, rᵢ(m+n) down",
        exact="exact before it is cut to each client's rank",
        sums="no: the server must see each client's factors",
        privacy="as flexlora; a client of rank rᵢ has noise on rᵢ(m+n) numbers",
        changed="ranks are r, r/2, r/4 in place of 8 to 200",
    ),
)  # fmt: skip
