"""FLoRA (arXiv 2409.05976, NeurIPS 2024): clients' factors are stacked, merged into the base, and begun anew.

[B₁|…|B_N]·[w₁A₁;…;w_N·A_N] is the mean product exactly, whatever the ranks are. `flora-unequal` has clients of rank r,
r/2 and r/4 in turn: a client of rank rᵢ has zeros in the last r − rᵢ rows of A and columns of B. There both gradients
are zero, so that nothing of the data is released of them and no norm changes, and the noise there is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from lalora_kit.engine.adapters import Adapter, average
from lalora_kit.methods.algebra import by_layer, drawn_a, merged, product_mean, with_base
from lalora_kit.methods.baselines import together
from lalora_kit.methods.hooks import counted
from lalora_kit.methods.method import NONE, About, Method


def halved(client: int, rank: int) -> int:
    """r, r/2 and r/4 in turn, at least 1."""
    return max(1, rank >> client % 3)


def mean_rank(rank: int, clients: int) -> float:
    """Of so many clients."""
    return sum(halved(client, rank) for client in range(clients)) / clients


def confine(rank_of: Callable[[int, int], int], local: Adapter, clients: Sequence[int]) -> None:
    """Zero what is beyond each client's rank, in place: A `(clients, r, n)`, B `(clients, m, r)`."""
    for name, A in local.of("A").items():
        rank = A.shape[1]
        own = torch.tensor([rank_of(client, rank) for client in clients], device=A.device)
        beyond = torch.arange(rank, device=A.device) >= own[:, None]  # (clients, r)
        A.masked_fill_(beyond[:, :, None], 0.0)
        local.tensors["B", name].masked_fill_(beyond[:, None, :], 0.0)


def by_thirds(local: Adapter, clients: Sequence[int], round: int, step: int) -> None:
    """Ranks r, r/2 and r/4 in turn."""
    confine(halved, local, clients)


def anew(server: Adapter, round: int, generator: np.random.Generator) -> Adapter:
    """Fresh factors on the merged base: A random, B zero."""
    return by_layer(server, lambda name: {
        "A": drawn_a(server.tensors["A", name].shape, generator), "B": torch.zeros_like(server.tensors["B", name]),
    })  # fmt: skip


def merge_all(
    broadcast: Adapter, clients: Sequence[Adapter], weights: Sequence[float], trained: frozenset[str]
) -> Adapter:
    """The exact mean product goes into the base; what is left of the factors is A as it was sent, and no B."""
    mean = average(broadcast, clients, weights, NONE)
    deltas = {name: mean.scale * product_mean(clients, weights, name) for name in mean.of("A")}
    empty = by_layer(mean, lambda name: {"B": torch.zeros_like(mean.tensors["B", name])})
    return merged(empty, deltas)


def all_down(drawn: Adapter, clients: int) -> tuple[float, float]:
    """Both factors up; those of all clients down."""
    return counted(drawn, lambda m, n, r: r * (m + n)), counted(drawn, lambda m, n, r: clients * r * (m + n))


FLORA = Method(
    "flora", "arXiv 2409.05976, NeurIPS 2024", together, aggregate=merge_all, begins=with_base, opens=anew,
    traffic=all_down,
    about=About(
        does="trains A and B from a fresh start each round; the stacked factors are merged into the base",
        trains="A and B", sends="r(m+n) up, N·r(m+n) down", exact="exact, at unequal ranks too",
        sums="no: the server must see each client's factors",
        privacy="noise on r(m+n) numbers; its product with itself falls with 1/N, not 1/N²; a round's first step of A "
        "is noise alone",
        changed="the sum of all clients is weighted by their sizes throughout (the released baseline counts the last "
        "client alone)",
    ),
)  # fmt: skip


def by_rank(drawn: Adapter, clients: int) -> tuple[float, float]:
    """Both factors at a client's own rank up; those of all clients down."""
    return counted(drawn, lambda m, n, r: mean_rank(r, clients) * (m + n)), counted(
        drawn, lambda m, n, r: clients * mean_rank(r, clients) * (m + n)
    )


FLORA_UNEQUAL = Method(
    "flora-unequal", "arXiv 2409.05976, NeurIPS 2024: unequal ranks", together, aggregate=merge_all, begins=with_base,
    opens=anew, between=by_thirds,
    traffic=by_rank,
    about=About(
        does="flora, with clients of rank r, r/2 and r/4 in turn",
        trains="A and B, of a client's own rank", sends="rᵢ(m+n) up, Σrᵢ(m+n) down", exact="exact",
        sums="no: the server must see each client's factors",
        privacy="as flora; a client of rank rᵢ has noise on rᵢ(m+n) numbers",
        changed="ranks are r, r/2, r/4 in place of 64 to 4; α/r is one for all",
    ),
)  # fmt: skip
