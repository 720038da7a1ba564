"""Reach and noise: how many numbers a method noises in a step, and how much of the gradient a step can follow.

A step's gradient G of a weight `(m, n)` is seen through coordinates of fewer numbers, clipped and noised there:

    full       G itself: m·n numbers (`dense-mean`)
    LoRA       G·Aᵀ and Bᵀ·G: r(m+n), as long as A and B happen to be (`dp-lora`)
    tangent    P(G) = P_B·G + G·P_A − P_B·G·P_A: r(m+n−r), whatever the factors are (PRISM, arXiv 2606.00944)
    FFA        G·Qᵀ with orthonormal rows of Q: r·m (`ffa-lora-qr`)
    Fed-SB     Uᵀ·G·V between singular directions of the frozen weight: r² (`fed-sb`)

All but LoRA keep lengths, so that noise of deviation τ has the energy τ²·d in W for d numbers. The head is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter
from lalora_kit.engine.persample import Engine
from lalora_kit.lessons.amplification import square_sum
from lalora_kit.lessons.gradients import step_gradients
from lalora_kit.methods.algebra import orthonormal, rows_apart
from lalora_kit.tasks import Split, Task

WAYS = ("full", "LoRA", "tangent", "FFA", "Fed-SB")


@dataclass(frozen=True, eq=False)
class Weight:
    """One adapted weight: each sample's gradient G `(S, m, n)`, and what the methods look through.

    A `(r, n)`, B `(m, r)`: the factors that stand there, the scale s in B. Q `(r, n)`: FFA's, orthonormal rows.
    U `(m, r)`, V `(n, r)`: Fed-SB's, orthonormal columns.
    """

    G: Tensor
    A: Tensor
    B: Tensor
    Q: Tensor
    U: Tensor
    V: Tensor


def weights_at(task: Task, adapter: Adapter, frozen: Adapter, split: Split) -> list[Weight]:
    """Every adapted weight with its samples' gradients at an adapter; not private.

    Args:
        adapter: where the gradients are taken.
        frozen: the adapter as it was drawn: its A, made orthonormal, is FFA's.
        split: the samples; each has m·n numbers a layer, in float64.
    """
    engine = Engine(task, adapter.scale, max_samples=32)
    dense = Adapter({**adapter.tensors, **{
        key: value for name, A in adapter.of("A").items() for key, value in whole(adapter, name, A).items()
    }}, adapter.scale)  # fmt: skip
    found, names = step_gradients(engine, dense, split, "A").double(), sorted(adapter.of("A"))
    shapes = [dense.tensors["A", name].shape for name in names]
    parts = found[:, : sum(map(math.prod, shapes))].split([math.prod(shape) for shape in shapes], dim=1)
    weights = []
    for name, part, shape in zip(names, parts, shapes, strict=True):
        A, B = (adapter.tensors[kind, name].double() for kind in "AB")
        base: Tensor = task.backbone.get_submodule(name).weight.detach().cpu().double()  # type: ignore[union-attr, assignment, operator]
        U, _, Vh = torch.linalg.svd(base, full_matrices=False)
        Q = rows_apart(frozen.tensors["A", name])[1]
        weights.append(Weight(part.unflatten(1, shape), A, adapter.scale * B, Q, U[:, : len(A)], Vh[: len(A)].mT))
    return weights


def whole(adapter: Adapter, name: str, A: Tensor) -> dict[tuple[str, str], Tensor]:
    """The same weight as a factor A `(m, n)` beside B = I/s, whose gradient is G."""
    B = adapter.tensors["B", name]
    return {("A", name): adapter.scale * (B @ A), ("B", name): torch.eye(len(B)) / adapter.scale}


def at_random(weights: Sequence[Weight], generator: np.random.Generator) -> list[Weight]:
    """The same gradients, looked at through random directions: as many numbers, and nothing that anybody chose."""
    return [
        replace(
            one, A=orthonormal(one.A.mT.shape, generator).mT, B=orthonormal(one.B.shape, generator),
            U=orthonormal(one.U.shape, generator), V=orthonormal(one.V.shape, generator),
        )
        for one in weights
    ]  # fmt: skip


def turned(one: Tensor, other: Tensor) -> float:
    """Largest angle between the spaces of two sets of orthonormal rows `(r, n)`, in degrees; 0 if they are the same."""
    outside = other.double() - other.double() @ one.double().mT @ one.double()  # its sines are exact near zero
    return math.degrees(math.asin(min(1.0, float(torch.linalg.matrix_norm(outside, 2)))))


def coordinates(weight: Weight, way: str) -> list[Tensor]:
    """Each sample's gradient as a way sees it, `(S, ., .)` a tensor.

    Raises:
        ValueError: for an unknown way.
    """
    G = weight.G
    if way == "full":
        return [G]
    if way == "LoRA":
        return [G @ weight.A.mT, weight.B.mT @ G]
    if way == "tangent":
        Q_A, Q_B = rows_apart(weight.A)[1], rows_apart(weight.B.mT)[1]  # (r, n), (r, m)
        left = Q_B @ G
        return [G @ Q_A.mT, left - left @ Q_A.mT @ Q_A]
    if way == "FFA":
        return [G @ weight.Q.mT]
    if way == "Fed-SB":
        return [weight.U.mT @ G @ weight.V]
    raise ValueError(f"way={way!r} is unknown; a step is seen through one of {', '.join(WAYS)}; choose one")


def lifted(weight: Weight, way: str, seen: Sequence[Tensor]) -> Tensor:
    """What W moves by `(m, n)`, for what was released in a way's coordinates."""
    if way == "full":
        return seen[0]
    if way == "LoRA":
        return seen[0] @ weight.A + weight.B @ seen[1]
    if way == "tangent":
        return seen[0] @ rows_apart(weight.A)[1] + rows_apart(weight.B.mT)[1].mT @ seen[1]
    return seen[0] @ weight.Q if way == "FFA" else weight.U @ seen[0] @ weight.V.mT


def numbers(weight: Weight, way: str) -> int:
    """How many numbers are noised."""
    (m, r), n = weight.B.shape, weight.A.shape[1]
    return {"full": m * n, "LoRA": r * (m + n), "tangent": r * (m + n - r), "FFA": r * m, "Fed-SB": r * r}[way]


def noise_energy(weight: Weight, way: str) -> float:
    """Expected squared norm in W of noise of deviation one on each number; of first order in LoRA's two factors."""
    if way == "LoRA":
        (m, _), n = weight.B.shape, weight.A.shape[1]
        return m * square_sum(weight.A) + n * square_sum(weight.B)
    return float(numbers(weight, way))


@dataclass(frozen=True)
class Reach:
    """A way at one place, over all adapted weights.

    numbers: that are noised. reach: norm of the part of the mean gradient that a move can follow, over its whole norm.
    along: how far the mean of the clipped gradients moves W along the mean gradient, in units of C.
    noise: norm in W of noise of deviation one on each number. clipped: share of the samples that are shortened.
    """

    numbers: int
    reach: float
    along: float
    noise: float
    clipped: float

    def signal_to_noise(self, noise_std: float) -> float:
        """`along` over the norm of the noise in W, where each number has noise of `noise_std`, in units of C."""
        return self.along / (noise_std * self.noise) if noise_std else math.inf


def reach_of(weights: Sequence[Weight], way: str, clip_norm: float) -> Reach:
    """Clip every sample over all weights at once, as a step does, and look at what is left of the mean gradient."""
    seen = [coordinates(weight, way) for weight in weights]
    norms = sum(h.square().sum((1, 2)) for parts in seen for h in parts).sqrt()  # type: ignore[union-attr]
    factor = (clip_norm / norms).clamp(max=1.0)[:, None, None]
    total = followed = inner = 0.0
    for weight, parts in zip(weights, seen, strict=True):
        G = weight.G.mean(0)
        total += square_sum(G)
        followed += square_sum(onto(weight, way, G))
        inner += float((lifted(weight, way, [(factor * h).mean(0) for h in parts]) * G).sum())
    return Reach(
        sum(numbers(weight, way) for weight in weights),
        math.sqrt(followed / total),
        inner / math.sqrt(total) / clip_norm,
        math.sqrt(sum(noise_energy(weight, way) for weight in weights)),
        float((norms > clip_norm).double().mean()),
    )


def onto(weight: Weight, way: str, G: Tensor) -> Tensor:
    """The part of G `(m, n)` in the space of all moves of a way; LoRA's two factors reach the tangent space."""
    one = Weight(G[None], weight.A, weight.B, weight.Q, weight.U, weight.V)
    kept = "tangent" if way == "LoRA" else way
    return lifted(one, kept, [part[0] for part in coordinates(one, kept)])


@dataclass(frozen=True, eq=False)
class Gauge:
    """Norms of each sample's gradient as (c·B)·(A/c) has them; W is the same for every c.

    of_B, of_A: norms at c = 1 of the gradients of B and A. tangent: of P(G), which no c changes. All `(S,)`.
    """

    of_B: Tensor
    of_A: Tensor
    tangent: Tensor

    def flat(self, c: float) -> Tensor:
        """The norm that a clip of the two factors meets."""
        return (self.of_B.square() / c**2 + self.of_A.square() * c**2).sqrt()


def gauge_of(weights: Sequence[Weight]) -> Gauge:
    """The three norms over all weights."""
    seen = [coordinates(weight, "LoRA") for weight in weights]
    of_B, of_A = (sum(parts[i].square().sum((1, 2)) for parts in seen).sqrt() for i in (0, 1))  # type: ignore[union-attr]
    inside = [h for weight in weights for h in coordinates(weight, "tangent")]
    return Gauge(of_B, of_A, sum(h.square().sum((1, 2)) for h in inside).sqrt())  # type: ignore[union-attr]
