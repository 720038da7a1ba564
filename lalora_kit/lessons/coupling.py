"""Gradient coupling: each factor's gradient is built from the other factor, as if that one stood still.

LA-LoRA's first root cause (arXiv 2602.19926, Figure 2). The paper plots a cosine between ∇_A and ∇_B
that no source at hand defines, and their shapes differ; so three cosines are computed here, and labelled ours. With
G = ∂L/∂W, ∇_A = s·Bᵀ·G `(r, n)` and ∇_B = s·G·Aᵀ `(m, r)`. Gradients are mappings `("A" | "B", layer) -> tensor`.

All functions are pure, compute in float64, and give NaN where a quantity is undefined, never 0. What they
read from clean gradients is not private: for lessons, not for release (`gradients` takes both kinds).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter
from lalora_kit.lessons.gradients import Gradients

T = TypeVar("T")
ROUNDING = 1e-14  # a squared norm below this share of what its factors allow is rounding, so the move is zero


@dataclass(frozen=True)
class ByLayer(Generic[T]):
    """One value a layer, and `pooled`: the value of all layers laid side by side as one long vector."""

    layers: Mapping[str, T]
    pooled: T


@dataclass(frozen=True)
class Coupling:
    """Three cosines between the gradients of A and of B, all in [-1, 1].

    weight: primary, c_W = ⟨B·∇_A, ∇_B·A⟩ / (‖B·∇_A‖·‖∇_B·A‖), between the moves of W that each factor causes alone.
        In [0, 1] for clean gradients of one point; NaN while B is zero. Unchanged by B→BQ, A→Q⁻¹A for orthogonal Q.
    gauge: between ∇_A·Aᵀ and Bᵀ·∇_B, both r×r: 1 for clean gradients of one point, in every gauge. What is
        missing to 1 is noise, or that the gradients were taken at different points.
    flat: between vec(∇_A) and vec(∇_Bᵀ), *possibly what the paper did*: it depends on the gauge, and is NaN unless
        m = n, in every layer.
    """

    weight: float
    gauge: float
    flat: float


@dataclass(frozen=True)
class Move:
    """The move of W = s·B·A in one step, as Frobenius norms.

    promised: of s·(B·ΔA + ΔB·A), what the gradients speak of: each as if the other factor stood still.
    actual: of s·((B + ΔB)·(A + ΔA) − B·A), what happens.
    surprise: ‖actual − promised‖ / ‖promised‖; NaN where nothing was promised. 0 up to rounding if one factor moves.
    """

    promised: float
    actual: float
    surprise: float


def coupling(adapter: Adapter, gradients: Gradients) -> ByLayer[Coupling]:
    """The cosines between ∇_A and ∇_B of one point; clean or noised gradients alike.

    Args:
        adapter: a single adapter, A `(r, n)` and B `(m, r)` a layer; the head is not looked at.
        gradients: ∇_A `(r, n)` and ∇_B `(m, r)` for each layer.
    """
    return staleness(adapter, gradients, adapter, gradients)


def staleness(before: Adapter, grad_b: Gradients, after: Adapter, grad_a: Gradients) -> ByLayer[Coupling]:
    """The cosines between ∇_B at step k, taken at `before`, and ∇_A at step k+1, taken at `after`.

    What an alternation compares. `gauge` then falls below 1 by how much the first half-step changed the gradient.
    """
    layers = {}
    for name in after.of("A"):
        A, B, grad_of_b = (
            x.double() for x in (before.tensors["A", name], before.tensors["B", name], grad_b["B", name])
        )
        A2, B2, grad_of_a = (
            x.double() for x in (after.tensors["A", name], after.tensors["B", name], grad_a["A", name])
        )
        layers[name] = inner_products(A, B, grad_of_b, A2, B2, grad_of_a)
    return ByLayer({name: cosines(value) for name, value in layers.items()}, cosines(sum_of(layers)))


def inner_products(A: Tensor, B: Tensor, grad_b: Tensor, A2: Tensor, B2: Tensor, grad_a: Tensor) -> Tensor:
    """⟨x, y⟩, ‖x‖², ‖y‖² `(3, 3)`, a row each for `Coupling`'s fields; no m×n matrix is formed.

    ∇_B `(m, r)` was taken at A, B and ∇_A `(r, n)` at A2, B2: ⟨B2·∇_A, ∇_B·A⟩ = ⟨B2ᵀ·∇_B, ∇_A·Aᵀ⟩, an r×r product.
    """
    weight = torch.stack(
        [((B2.T @ grad_b) * (grad_a @ A.T)).sum(), product_energy(B2, grad_a), product_energy(grad_b, A)]
    )
    left, right = grad_a @ A2.T, B.T @ grad_b  # (r, r) each
    gauge = torch.stack([(left * right).sum(), above_rounding(left, grad_a, A2), above_rounding(right, B, grad_b)])
    flat = torch.full_like(gauge, math.nan)
    if grad_a.shape == grad_b.T.shape:
        flat = torch.stack([(grad_a * grad_b.T).sum(), grad_a.square().sum(), grad_b.square().sum()])
    return torch.stack([weight, gauge, flat])


def product_energy(left: Tensor, right: Tensor) -> Tensor:
    """‖left·right‖_F² for `(m, r)` and `(r, n)`, as ⟨leftᵀ·left, right·rightᵀ⟩; exactly 0 where it is rounding."""
    energy = ((left.T @ left) * (right @ right.T)).sum()
    return torch.where(energy > ROUNDING * left.square().sum() * right.square().sum(), energy, 0.0)


def above_rounding(product: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """‖product‖_F² of two matrices that were multiplied; exactly 0 where it is rounding."""
    energy = product.square().sum()
    return torch.where(energy > ROUNDING * left.square().sum() * right.square().sum(), energy, 0.0)


def cosines(products: Tensor) -> Coupling:
    """⟨x, y⟩ / (‖x‖·‖y‖) of each row of `(3, 3)`; NaN where x or y is zero."""
    return Coupling(*(x / (y**0.5 * z**0.5) if y > 0 and z > 0 else math.nan for x, y, z in products.tolist()))


def sum_of(layers: Mapping[str, Tensor]) -> Tensor:
    """Inner products of long vectors are sums of the layers' inner products."""
    return torch.stack(list(layers.values())).sum(0)


def cross_over_linear(adapter: Adapter, gradients: Gradients, rate: float) -> ByLayer[float]:
    """The second-order term of a simultaneous step over its linear one: η·‖∇_B·∇_A‖ / ‖B·∇_A + ∇_B·A‖.

    Stepping both factors at rate η moves W by −η·s·(B·∇_A + ∇_B·A) + η²·s·∇_B·∇_A; with Theorem 2's projected
    gradients the last term is the one that Theorem 3 of arXiv 2602.19926 calls non-negligible. The
    closed form of `promised_move(...).surprise`, through r×r products; NaN where the linear term is zero.
    """
    layers = {}
    for name, a in adapter.of("A").items():
        A, B = a.double(), adapter.tensors["B", name].double()
        grad_a, grad_b = gradients["A", name].double(), gradients["B", name].double()
        weight = inner_products(A, B, grad_b, A, B, grad_a)[0]  # (3,)
        layers[name] = torch.stack([product_energy(grad_b, grad_a), 2 * weight[0] + weight[1] + weight[2]])

    def ratio(energies: Tensor) -> float:
        cross, linear = energies.tolist()
        return rate * math.sqrt(cross / linear) if linear > 0 else math.nan

    return ByLayer({name: ratio(value) for name, value in layers.items()}, ratio(sum_of(layers)))


def promised_move(adapter: Adapter, gradients: Gradients, rate: float) -> ByLayer[Move]:
    """What a gradient step promises W, against what it does; only the factors that `gradients` holds are stepped.

    With both, `surprise` climbs in proportion to `rate`; with one, a half-step of an alternation, it stays 0 up to
    rounding. Measured by forming the products `(m, n)` before and after, not from `cross_over_linear`.
    """
    layers = {}
    for name, a in adapter.of("A").items():
        A, B = a.double(), adapter.tensors["B", name].double()
        dA, dB = (
            -rate * gradients[kind, name].double() if (kind, name) in gradients else torch.zeros_like(value)
            for kind, value in (("A", A), ("B", B))
        )
        promised = adapter.scale * (B @ dA + dB @ A)
        actual = adapter.scale * ((B + dB) @ (A + dA) - B @ A)
        layers[name] = torch.stack([value.square().sum() for value in (promised, actual, actual - promised)])

    def move(energies: Tensor) -> Move:
        promised, actual, missed = energies.sqrt().tolist()
        return Move(promised, actual, missed / promised if promised > 0 else math.nan)

    return ByLayer({name: move(value) for name, value in layers.items()}, move(sum_of(layers)))


def stepped(adapter: Adapter, gradients: Gradients, rate: float) -> Adapter:
    """The adapter after one plain gradient step of the tensors in `gradients`; the others are the same tensors."""
    return adapter.with_tensors(
        {key: adapter.tensors[key] - rate * value.to(adapter.tensors[key]) for key, value in gradients.items()}
    )


def half_steps(
    adapter: Adapter, gradient: Callable[[Adapter, Sequence[str]], Gradients], rate: float
) -> tuple[ByLayer[Move], ByLayer[Move], Adapter]:
    """One alternation, B first: the moves of both half-steps, and the adapter after them.

    `gradient(adapter, factors)` gives the gradients of the named factors at a point; it is asked anew for A, after B
    has moved, and that is the whole difference to a simultaneous step.
    """
    grad_b = gradient(adapter, "B")
    between = stepped(adapter, grad_b, rate)
    grad_a = gradient(between, "A")
    moves = promised_move(adapter, grad_b, rate), promised_move(between, grad_a, rate)
    return *moves, stepped(between, grad_a, rate)
