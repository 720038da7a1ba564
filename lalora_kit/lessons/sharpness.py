"""Sharpness: how fast the loss rises around a model; the answer depends on the space in which one steps aside.

LA-LoRA's third root cause (arXiv 2602.19926) is that averaged models lie in sharp places. The paper
does not say in which space its λ_max (the largest eigenvalue of the loss's Hessian) was taken. In the space of the
factors λ_max changes under B→cB, A→A/c, which leaves the model as it is; in the space of ΔW it does not. So both are
here, and "flatter" should be said only of the second, or of both.

Losses are mean cross-entropies in nats, of the backbone in eval mode. What is read from private data is not private.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.engine.persample import Engine
from lalora_kit.lessons.gradients import prepared
from lalora_kit.lessons.hessian import Loss, Sharpness, hessian_product, lanczos
from lalora_kit.tasks import Split

#: The spaces by name: what is moved.
FACTORS, FACTORS_AND_HEAD, WEIGHTS = ("A", "B"), ("A", "B", "head"), ("W",)


@dataclass(frozen=True, eq=False)
class Line:
    """Loss and accuracy along (1 − x)·first + x·second, at `positions` x in [0, 1]; FedAvg of the two is x = 1/2."""

    positions: tuple[float, ...]
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]

    @property
    def barrier(self) -> float:
        """Largest rise of the loss above the chord between both ends, in nats; 0 if it rises nowhere."""
        chord = ((1 - x) * self.losses[0] + x * self.losses[-1] for x in self.positions)
        return max(loss - straight for loss, straight in zip(self.losses, chord, strict=True))


@dataclass(frozen=True, eq=False)
class Surface:
    """Loss `(points, points)` on the plane through the model along two random directions; `positions` `(points,)`."""

    positions: Tensor
    losses: Tensor


def sharpness(
    engine: Engine,
    adapter: Adapter,
    split: Split,
    *,
    space: Sequence[str] = FACTORS,
    generator: np.random.Generator,
    most_products: int = 200,
    tolerance: float = 1e-3,
    smallest: bool = True,
) -> Sharpness:
    """λ_max and λ_min of the loss over a split, in the space of the named tensors; NaN and a sentence where one fails.

    Args:
        engine: its `max_samples` bounds memory; results do not depend on it.
        adapter: where to look; the tensors that `space` leaves out stand still.
        split: a fixed evaluation batch; a few hundred samples are usual.
        space: `FACTORS`, `FACTORS_AND_HEAD`, or any of "A", "B", "head"; or `WEIGHTS`, ΔW `(m, n)` of every adapted
            layer, where the answer belongs to the model and not to its factors.
        generator: of the first direction.
        most_products, tolerance: of each end; stop there, or once the residual is below tolerance · |λ|.
        smallest: False saves the products of λ_min.

    Raises:
        ValueError: if the space is unknown or the split is empty.
    """
    point, data = prepared(engine, adapter, split)
    keys, tensors = leaves_of(point, space)
    chunk = engine.max_samples or len(data)
    parts = [part_of_loss(engine, point, keys, data, part) for part in torch.arange(len(data)).split(chunk)]
    product = hessian_product(parts, tensors)
    size = sum(x.numel() for x in tensors)
    return lanczos(product, size, generator, most_products, tolerance, smallest=smallest)


def leaves_of(point: Adapter, space: Sequence[str]) -> tuple[list[Key], list[Tensor]]:
    """Keys and values of what moves; ("W", layer) stands for ΔW = s·B·A."""
    if not space or not (set(space) <= {*FACTORS_AND_HEAD} or tuple(space) == WEIGHTS):
        raise ValueError(f"space={space!r} is unknown; it names what moves; use some of A, B, head, or W alone")
    if tuple(space) == WEIGHTS:
        products = point.products()
        return [("W", name) for name in products], list(products.values())
    keys = [key for key in sorted(point.tensors) if key[0] in space]
    return keys, [point.tensors[key] for key in keys]


def part_of_loss(engine: Engine, point: Adapter, keys: Sequence[Key], data: Split, part: Tensor) -> Loss:
    """A function of the leaves: what the samples at `part` add to the mean loss over `data`."""
    chunk = data.select(part.to(engine.device))

    def loss(leaves: Sequence[Tensor]) -> Tensor:
        moved = dict(zip(keys, leaves, strict=True))
        tensors: dict[Key, Tensor] = {**point.tensors, **{key: x for key, x in moved.items() if key[0] != "W"}}
        for (kind, name), value in moved.items():
            if kind == "W":  # with A the identity, the low-rank path s·B·A carries any ΔW, as B = ΔW/s
                tensors["A", name] = torch.eye(value.shape[1], dtype=value.dtype, device=value.device)
                tensors["B", name] = value / point.scale
        scores = engine.scores(tensors, chunk.inputs).to(leaves[0].dtype)
        return F.cross_entropy(scores, chunk.labels, reduction="sum") / len(data)

    return loss


def rescaled(adapter: Adapter, factor: float) -> Adapter:
    """B→c·B, A→A/c in every layer: another adapter, the same model.

    Raises:
        ValueError: if c is 0 or not finite.
    """
    if not (math.isfinite(factor) and factor != 0):
        raise ValueError(f"factor={factor} cannot be undone by its inverse; use a finite number other than 0")
    change = {"A": 1 / factor, "B": factor}
    return adapter.with_tensors({key: change[key[0]] * x for key, x in adapter.tensors.items() if key[0] in change})


def loss_along(engine: Engine, first: Adapter, second: Adapter, split: Split, points: int = 21) -> Line:
    """Loss on the straight way from one client's adapter to another's, in all tensors, the head's among them.

    An odd number of `points` has the average of the two in the middle: what FedAvg of two clients lands on.

    Raises:
        ValueError: if there are fewer than 2 points, or the split is empty.
    """
    if points < 2:
        raise ValueError(f"points={points} is no line; it has two ends at least; use 21")
    positions = torch.linspace(0, 1, points, dtype=torch.float64).tolist()
    (left, data), (right, _) = prepared(engine, first, split), prepared(engine, second, split)
    seen = []
    for x in positions:
        between = {key: (1 - x) * value + x * right.tensors[key] for key, value in left.tensors.items()}
        seen.append(engine.evaluate(left.with_tensors(between), data.to("cpu")))
    accuracies, losses = zip(*seen, strict=True)
    return Line(tuple(positions), losses, accuracies)


def directions(adapter: Adapter, space: Sequence[str], generator: np.random.Generator) -> Mapping[Key, Tensor]:
    """A random direction, filter-normalised: every row as long as the model's own (Li et al. 2018).

    A row that is zero, and every vector (a bias), stays where it is.
    """
    result = {}
    for key in adapter.keys(space):
        value = adapter.tensors[key]
        if key[0] in space and value.ndim == 2:
            row = torch.from_numpy(generator.standard_normal(value.shape)).to(value)  # (rows, columns)
            result[key] = row * (value.norm(dim=1, keepdim=True) / row.norm(dim=1, keepdim=True))
    return result


def loss_surface(
    engine: Engine,
    adapter: Adapter,
    split: Split,
    *,
    generator: np.random.Generator,
    space: Sequence[str] = FACTORS,
    points: int = 11,
) -> Surface:
    """Loss on [−1, 1]² around the adapter, along two filter-normalised random directions.

    A picture, not a measure: two directions out of thousands can mislead, and rows of factors depend on the gauge.
    """
    point, data = prepared(engine, adapter, split)
    one, two = (directions(point, space, generator) for _ in range(2))
    positions = torch.linspace(-1, 1, points, dtype=torch.float64)
    losses = torch.empty(points, points, dtype=torch.float64)
    for i, x in enumerate(positions.tolist()):
        for j, y in enumerate(positions.tolist()):
            moved = {key: point.tensors[key] + x * one[key] + y * two[key] for key in one}
            losses[i, j] = engine.evaluate(point.with_tensors(moved), data.to("cpu"))[1]
    return Surface(positions, losses)
