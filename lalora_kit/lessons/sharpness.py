"""Sharpness: how fast the loss rises around a model; the answer depends on the space in which one steps aside.

LA-LoRA's third root cause (arXiv 2602.19926) is that averaged models lie in sharp places. The paper
does not say in which space its λ_max (the largest eigenvalue of the loss's Hessian) was taken. In the space of the
factors λ_max changes under B→cB, A→A/c, which leaves the model as it is; in the space of ΔW it does not. So both are
here, and "flatter" should be said only of the second, or of both.

A map of the loss is here too: the plane of the weights through where two runs began and where each of them ended.

Losses are mean cross-entropies in nats, of the backbone in eval mode. What is read from private data is not private.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.engine.persample import Engine
from lalora_kit.lessons.gradients import prepared
from lalora_kit.lessons.hessian import Loss, Sharpness, hessian_product, lanczos
from lalora_kit.methods.algebra import NEGLIGIBLE, moved
from lalora_kit.tasks import Split

#: The spaces by name: what is moved.
FACTORS, FACTORS_AND_HEAD, WEIGHTS = ("A", "B"), ("A", "B", "head"), ("W",)


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
        tensors: dict[Key, Any] = {**point.tensors, **{key: x for key, x in moved.items() if key[0] != "W"}}
        for (kind, name), value in moved.items():
            if kind == "W":  # it stands for the factors, beside what a method has merged
                tensors["W", name] = value + point.tensors.get(("W", name), 0)
                tensors["A", name] = tensors["B", name] = None
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


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane of the weights: each adapted layer's ΔW and the head's parameters, as one long vector.

    Attributes:
        origin: `(d,)` where both runs begin.
        axes: `(2, d)` orthonormal; the first points to one end, the second from there towards the other.
        ends: `(2, 2)` where both ends lie.
        frame: an adapter of the run, for names, shapes and scale.
    """

    origin: Tensor
    axes: Tensor
    ends: Tensor
    frame: Adapter

    def place(self, adapter: Adapter) -> tuple[float, float]:
        """Where an adapter lies, seen from straight above: its nearest point of the plane."""
        x, y = (self.axes @ (flat(adapter) - self.origin)).tolist()
        return x, y

    def beside(self, adapter: Adapter) -> float:
        """How far an adapter lies from the plane, as a share of its way from the origin; 0 at the origin itself."""
        way = flat(adapter) - self.origin
        off = way - self.axes.T @ (self.axes @ way)
        return float(off.norm() / way.norm()) if float(way.norm()) else 0.0

    def at(self, x: float, y: float) -> Adapter:
        """The model at a point of the plane; ΔW stands in the place of what a method merges, and A and B are zero."""
        vector = self.origin + x * self.axes[0] + y * self.axes[1]
        tensors: dict[Key, Tensor] = {}
        for key, size in sizes(self.frame).items():
            value, vector = vector[: size.numel()], vector[size.numel() :]
            tensors[key] = value.reshape(size).to(next(iter(self.frame.tensors.values())).dtype)
        for name, A in self.frame.of("A").items():
            tensors["A", name] = torch.zeros_like(A)
            tensors["B", name] = torch.zeros_like(self.frame.tensors["B", name])
        return Adapter(tensors, self.frame.scale)

    def losses(self, engine: Engine, split: Split, xs: Sequence[float], ys: Sequence[float]) -> Tensor:
        """Loss `(len(xs), len(ys))` on a grid of the plane."""
        found = [[engine.evaluate(self.at(x, y), split)[1] for y in ys] for x in xs]
        return torch.tensor(found, dtype=torch.float64)


def plane_through(start: Adapter, one: Adapter, other: Adapter) -> Plane:
    """The plane through a beginning and two ends.

    Raises:
        ValueError: if the three lie on one line.
    """
    origin = flat(start)
    first, second = flat(one) - origin, flat(other) - origin
    along = first / first.norm()
    across = second - (along @ second) * along
    if not float(across.norm()) > NEGLIGIBLE * float(second.norm()):
        raise ValueError("the beginning and both ends lie on one line, which is no plane; take ends of different runs")
    axes = torch.stack([along, across / across.norm()])
    return Plane(origin, axes, torch.stack([axes @ first, axes @ second]), start)


def sizes(adapter: Adapter) -> dict[Key, torch.Size]:
    """What a vector of weights is made of, in order: ΔW `(m, n)` of each layer, and the head's parameters."""
    layers = {("W", name): (adapter.tensors["B", name].shape[0], A.shape[1]) for name, A in adapter.of("A").items()}
    head = {("head", name): value.shape for name, value in adapter.of("head").items()}
    return {key: torch.Size(shape) for key, shape in {**layers, **head}.items()}


def flat(adapter: Adapter) -> Tensor:
    """An adapter as a vector of weights `(d,)`, float64, whatever its factors are."""
    found = [*moved(adapter).values(), *(value.double() for value in adapter.of("head").values())]
    return torch.cat([value.detach().cpu().flatten() for value in found])
