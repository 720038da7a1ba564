"""GaLore with direct averaging ("Exploring Gradient Subspaces", arXiv 2410.23111): dense weights, no adapter.

`galore-mean` is what the paper names. A round's first step trains the dense weight; the server takes the r first left
singular directions P of the mean move, keeps of that move what lies in them, and sends P; the other steps train PᵀG,
as an A beside B = P. So P comes from noised gradients. `dense-mean` is what the released code does: it hands the
optimiser no rank, so that nothing is projected.

A dense weight is a factor A `(m, n)` beside B = I/s: s plays no part, nor does it with B = P/s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lalora_kit.engine.adapters import Adapter, average
from lalora_kit.methods.algebra import by_layer, merge_product, merged, orthonormal, with_base
from lalora_kit.methods.gallery.rac import only_a
from lalora_kit.methods.hooks import counted
from lalora_kit.methods.method import About, Method


def dense(adapter: Adapter) -> Adapter:
    """A `(m, n)` zero beside B = I/s `(m, m)`."""

    def whole(name: str) -> dict[str, Tensor]:
        A, B = adapter.tensors["A", name], adapter.tensors["B", name]
        return {"A": A.new_zeros(len(B), A.shape[1]), "B": torch.eye(len(B), device=B.device) / adapter.scale}

    return by_layer(adapter, whole)


def dense_from_the_start(adapter: Adapter, backbone: nn.Module, generator: np.random.Generator) -> Adapter:
    """The whole weight of each layer trains, in every step."""
    return dense(adapter)


def dense_at_first(server: Adapter, round: int, generator: np.random.Generator) -> Adapter:
    """The whole weight of each layer trains, in a round's first step."""
    return dense(server)


def any_projection(adapter: Adapter, backbone: nn.Module, generator: np.random.Generator) -> Adapter:
    """A base to merge into, and a random P `(m, r)` that no step uses: each round finds its own."""
    based = with_base(adapter, backbone, generator)
    P = {("P", name): orthonormal(B.shape, generator).to(B.dtype) for name, B in based.of("B").items()}
    return by_layer(based.with_tensors(P), lambda name: {
        "A": torch.zeros_like(based.tensors["A", name]), "B": P["P", name] / based.scale,
    })  # fmt: skip


def after_the_first(local_steps: int) -> frozenset[int]:
    """The server must see the dense move before it can say what to project on."""
    return frozenset({1, local_steps})


def within_projection(
    broadcast: Adapter, clients: Sequence[Adapter], weights: Sequence[float], trained: frozenset[str]
) -> Adapter:
    """Of dense moves, the mean's part in its r first directions P is merged, and P sent; projected ones are merged."""
    mean = average(broadcast, clients, weights, trained)
    if all(len(mean.tensors["A", name]) == P.shape[1] for name, P in mean.of("P").items()):
        return merge_product(mean)
    found: dict[str, Tensor] = {}

    def onto(name: str) -> dict[str, Tensor]:
        move, r = mean.tensors["A", name].double(), mean.tensors["P", name].shape[1]
        P = torch.linalg.svd(move, full_matrices=False)[0][:, :r]
        found[name] = P @ (P.mT @ move)
        return {"P": P, "A": move.new_zeros(r, move.shape[1]), "B": P / mean.scale}

    return merged(by_layer(mean, onto), found)


def whole_weights(adapter: Adapter, trained: frozenset[str]) -> int:
    """The numbers of each dense weight, and the head's."""
    return adapter.size(frozenset()) + sum(
        len(B) * adapter.tensors["A", n].shape[1] for n, B in adapter.of("B").items()
    )


def dense_and_projected(drawn: Adapter, clients: int) -> tuple[float, float]:
    """A dense move and a projected one up; P and the means of both down; the head twice."""
    return counted(drawn, lambda m, n, r: m * n + r * n) + drawn.size(()), counted(
        drawn, lambda m, n, r: r * m + m * n + r * n
    ) + drawn.size(())


GALORE_MEAN = Method(
    "galore-mean", "arXiv 2410.23111", only_a, aggregate=within_projection, least_local_steps=2, begins=any_projection,
    opens=dense_at_first, exchanges=after_the_first,
    traffic=dense_and_projected,
    about=About(
        does="a round's first step trains dense weights and finds a projection; the others train within it",
        trains="the dense weight at a round's first step, then its r×n projection",
        sends="mn + rn up, rm + mn + rn down, in two exchanges", exact="exact: the mean of dense weights",
        sums="yes", privacy="noise on mn numbers at a round's first step, on rn at the others; the projection is of "
        "noised gradients",
        changed="one projection a round, for all clients, of the noised mean (the paper's is each client's own, of its "
        "raw gradient); what is clipped is the projected gradient",
    ),
)  # fmt: skip
DENSE_MEAN = Method(
    "dense-mean", "arXiv 2410.23111: what the released code does", only_a, begins=dense_from_the_start,
    sends=whole_weights,
    about=About(
        does="trains and averages the dense weights of the adapted layers: no adapter, no projection",
        trains="the dense weight", sends="mn up, mn down", exact="exact: the mean of dense weights", sums="yes",
        privacy="noise on mn numbers: the most of all",
        changed="each sample is clipped and noised; the released code has neither",
    ),
)  # fmt: skip
