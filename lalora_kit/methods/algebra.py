"""Linear algebra of low-rank products, for methods that combine or turn factors. Pure; no m×n matrix unless asked for.

Notation as everywhere: W = W0 + s·B·A, A `(r, n)`, B `(m, r)`. All is computed in float64 and handed back in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.tasks import Task

NEGLIGIBLE = 1e-6  # of a layer's largest singular value: what rounding in float32 leaves lies below


def drawn_a(shape: Sequence[int], generator: np.random.Generator) -> Tensor:
    """A `(rank, n)` as an adapter is begun with: entries of variance 1/(3n), float64."""
    rank, n = shape
    return torch.from_numpy(generator.uniform(-1 / math.sqrt(n), 1 / math.sqrt(n), (rank, n)))


def orthonormal(shape: Sequence[int], generator: np.random.Generator) -> Tensor:
    """A random `(m, rank)` with orthonormal columns, float64; no direction is likelier than another."""
    m, rank = shape
    return rows_apart(torch.from_numpy(generator.standard_normal((rank, m))))[1].mT


def stacked(clients: Sequence[Adapter], weights: Sequence[float], name: str) -> tuple[Tensor, Tensor]:
    """`[B₁|…|B_N]` `(m, Σr)` and `[w₁A₁;…;w_N·A_N]` `(Σr, n)`: their product is Σ wᵢBᵢAᵢ, whatever the ranks are.

    Weights stand on A alone, or they would count twice (FLoRA, arXiv 2409.05976).
    """
    left = torch.cat([client.tensors["B", name].double() for client in clients], dim=1)
    right = [w * client.tensors["A", name].double() for w, client in zip(weights, clients, strict=True)]
    return left, torch.cat(right)


def deviations(clients: Sequence[Adapter], weights: Sequence[float], mean: Adapter, name: str) -> tuple[Tensor, Tensor]:
    """Bᵢ − B̄ `(N, m, r)` and Aᵢ − Ā `(N, r, n)`: Σ wᵢ(Bᵢ−B̄)(Aᵢ−Ā) is Σ wᵢBᵢAᵢ − B̄Ā, what averaging loses."""
    B, A = (torch.stack([c.tensors[kind, name].double() for c in clients]) for kind in "BA")
    return B - mean.tensors["B", name].double(), A - mean.tensors["A", name].double()


def product_mean(clients: Sequence[Adapter], weights: Sequence[float], name: str) -> Tensor:
    """Σ wᵢBᵢAᵢ `(m, n)`, without the scale."""
    left, right = stacked(clients, weights, name)
    return left @ right


def moved(adapter: Adapter) -> dict[str, Tensor]:
    """What each layer's weight differs from W0 by: W + s·B·A `(m, n)`, float64; W is what was merged, if anything."""
    found = {}
    for name, A in adapter.of("A").items():
        delta = adapter.scale * (adapter.tensors["B", name].double() @ A.double())
        merged = adapter.tensors.get(("W", name))
        found[name] = delta if merged is None else merged.double() + delta
    return found


def rows_apart(A: Tensor) -> tuple[Tensor, Tensor]:
    """A = R·Q `(..., r, n)` with orthonormal rows of Q: `(R (..., r, r), Q)`. R's diagonal is not negative.

    Rows that depend on others get rows of Q all the same, and zeros in R.
    """
    Q, R = torch.linalg.qr(A.double().mT)  # Aᵀ = Q·R
    signs = torch.where(R.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).double()  # (..., r)
    return (signs[..., None] * R).mT, (Q * signs[..., None, :]).mT


def svd_of_product(left: Tensor, right: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first `rank` of U `(m, rank)`, S `(rank,)`, Vᵀ `(rank, n)` of left·right, by two QR and a small SVD.

    Signs are fixed: each column of U has its largest entry above 0. Vᵀ is orthonormal even where S is 0.
    """
    Q, R = torch.linalg.qr(left)  # (m, k)
    P, T = torch.linalg.qr(right.mT)  # (n, l)
    U, S, Vh = torch.linalg.svd(R @ T.mT, full_matrices=False)
    U, S, Vh = Q @ U[:, :rank], S[:rank], Vh[:rank] @ P.mT
    largest = U.gather(0, U.abs().argmax(dim=0, keepdim=True))  # (1, rank)
    signs = torch.where(largest < 0, -1.0, 1.0).double()
    return U * signs, S, signs.mT * Vh


def with_factors(adapter: Adapter, factors: Mapping[Key, Tensor]) -> Adapter:
    """The adapter with these tensors in the precision that it has them in."""
    return adapter.with_tensors({key: value.to(adapter.tensors[key].dtype) for key, value in factors.items()})


def by_layer(adapter: Adapter, function: Callable[[str], Mapping[str, Tensor]]) -> Adapter:
    """The adapter with what `function` makes, by kind, of each adapted layer's name."""
    made = {(kind, name): value for name in adapter.of("A") for kind, value in function(name).items()}
    return with_factors(adapter, made)


def with_base(adapter: Adapter, backbone: nn.Module, generator: np.random.Generator) -> Adapter:
    """The adapter with a place W `(m, n)` for what is merged into each layer's frozen weight; nothing is, so far."""
    heights = {name: len(B) for name, B in adapter.of("B").items()}
    return adapter.with_tensors({("W", n): A.new_zeros(heights[n], A.shape[1]) for n, A in adapter.of("A").items()})


def merged(adapter: Adapter, deltas: Mapping[str, Tensor]) -> Adapter:
    """The adapter with `deltas` `(m, n)` added to what its base has moved by."""
    return with_factors(adapter, {("W", n): adapter.tensors["W", n].double() + delta for n, delta in deltas.items()})


def merge_product(adapter: Adapter) -> Adapter:
    """s·B·A goes into the base, and A is zero: the weight stays what it was."""
    deltas = {name: adapter.scale * (adapter.tensors["B", name].double() @ A.double())
              for name, A in adapter.of("A").items()}  # fmt: skip
    return by_layer(merged(adapter, deltas), lambda name: {"A": torch.zeros_like(adapter.tensors["A", name])})


def as_plain_lora(adapter: Adapter) -> Adapter:
    """The same model as W0 + s·B·A with one rank for all layers, which PEFT can hold; one that is so already stays so.

    What was merged into the base goes into the factors, at a scale of one: their rank is then what the largest of the
    layers' moves has, singular values below `NEGLIGIBLE` of a layer's first left out.
    """
    kept = Adapter(adapter.own(), adapter.scale)
    ranks = {len(A) for A in adapter.of("A").values()}
    wide = any(len(A) > min(len(adapter.tensors["B", name]), A.shape[1]) for name, A in adapter.of("A").items())
    if not adapter.of("W") and len(ranks) <= 1 and not wide:
        return kept
    parts = {name: torch.linalg.svd(delta, full_matrices=False) for name, delta in moved(adapter).items()}
    rank = max(1, *(int((NEGLIGIBLE * S[0] < S).sum()) for _, S, _ in parts.values()))
    factors: dict[Key, Tensor] = {}
    for name, (U, S, Vh) in parts.items():
        here = min(rank, len(S))
        A, B = Vh.new_zeros(rank, Vh.shape[1]), U.new_zeros(len(U), rank)
        A[:here], B[:, :here] = Vh[:here], U[:, :here] * S[:here]
        factors |= {("A", name): A, ("B", name): B}
    return Adapter({**kept.tensors, **{key: value.float() for key, value in factors.items()}}, 1.0)


def widest_rank(task: Task) -> int:
    """The largest rank that a move of any adapted layer's weight can have; 1 where no layer is adapted."""
    return max((min(task.backbone.get_submodule(name).weight.shape) for name in task.targets), default=1)  # type: ignore[union-attr, arg-type, misc, type-var]
