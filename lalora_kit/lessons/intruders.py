"""Intruder dimensions (arXiv 2410.21228): directions of a tuned weight that its frozen weight does not have.

Of W = U·Σ·Vᵀ, the frozen W0 = U₀·Σ₀·V₀ᵀ: among the first ten left singular vectors of W, one is an intruder if its
cosine with every one of W0's stays below one half. Full fine-tuning makes hardly any, low rank many, and noise makes
them too. The analysis sees the adapter alone, which is noised already, so it costs no privacy.

In few dimensions the threshold means nothing: a random unit vector meets the nearest of m others at √(2·ln m / m),
which is .59 for m = 16 and .36 for m = 64. So layers narrower than 64 are left out, and said to be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter
from lalora_kit.methods.algebra import moved
from lalora_kit.tasks import Task

FIRST, THRESHOLD, NARROWEST = 10, 0.5, 64


@dataclass(frozen=True, eq=False)
class Intruders:
    """One weight's first singular vectors against its frozen weight's.

    Attributes:
        cosines: `(k,)` the largest |cosine| of each of the first k left singular vectors with any of the frozen ones.
        values: `(k,)` their singular values.
        left, right: `(m, k)` and `(k, n)` singular vectors.
    """

    cosines: Tensor
    values: Tensor
    left: Tensor
    right: Tensor

    def count(self, first: int = FIRST, threshold: float = THRESHOLD) -> int:
        """How many of the `first` vectors are intruders."""
        return int((self.cosines[:first] < threshold).sum())


def chance(m: int) -> float:
    """About the largest |cosine| of a random unit vector with m orthonormal ones."""
    return math.sqrt(2 * math.log(m) / m)


def of_weight(frozen: Tensor, tuned: Tensor, first: int = FIRST) -> Intruders:
    """Compare a tuned weight `(m, n)` with its frozen one.

    Raises:
        ValueError: if they differ in shape, or m is too small for a threshold to mean anything.
    """
    if frozen.shape != tuned.shape:
        raise ValueError(
            f"the weights are {tuple(frozen.shape)} and {tuple(tuned.shape)}; compare one layer with itself"
        )
    if len(frozen) < NARROWEST:
        raise ValueError(
            f"the layer is {len(frozen)} wide, and below {NARROWEST} a random direction is near some other anyhow "
            f"(|cosine| {chance(len(frozen)):.2f}); choose a wider layer"
        )
    U0 = torch.linalg.svd(frozen.double(), full_matrices=False)[0]
    U, S, Vh = torch.linalg.svd(tuned.double(), full_matrices=False)
    return Intruders((U0.T @ U[:, :first]).abs().amax(dim=0), S[:first], U[:, :first], Vh[:first])


def of_adapter(task: Task, adapter: Adapter, first: int = FIRST) -> dict[str, Intruders]:
    """Each adapted layer of at least `NARROWEST` outputs, with all that the adapter moves it by."""
    found = {}
    for name, delta in moved(adapter).items():
        frozen: Tensor = task.backbone.get_submodule(name).weight.detach().double()  # type: ignore[union-attr, operator, assignment]
        if len(frozen) >= NARROWEST:
            found[name] = of_weight(frozen.cpu(), frozen.cpu() + delta.cpu(), first)
    return found


def scaled_down(tuned: Tensor, found: Intruders, share: float, threshold: float = THRESHOLD) -> Tensor:
    """W + (λ − 1)·Σ σ·u·vᵀ over the intruders, the paper's means against forgetting; λ = `share`, 1 changes nothing."""
    chosen = found.cosines < threshold
    part = (found.left[:, chosen] * found.values[chosen]) @ found.right[chosen]
    return tuned.double() + (share - 1) * part


def counts(found: Sequence[Intruders], thresholds: Sequence[float], first: int = FIRST) -> list[int]:
    """Intruders of all layers together at each threshold."""
    return [sum(one.count(first, threshold) for one in found) for threshold in thresholds]


def told(task: Task, adapter: Adapter) -> str:
    """A sentence on an adapter's intruders."""
    found = of_adapter(task, adapter)
    if not found:
        return f"intruder dimensions: no adapted layer is {NARROWEST} wide, and below that they mean nothing"
    looked = sum(len(one.cosines) for one in found.values())
    left_out = len(adapter.of("A")) - len(found)
    narrow = f"; {left_out} narrower ones left out" if left_out else ""
    layers = "1 layer" if len(found) == 1 else f"{len(found)} layers"
    [count] = counts(list(found.values()), [THRESHOLD])
    return (
        f"intruder dimensions: {count} of the first {looked} singular directions "
        f"of {layers} are none of the frozen weight's (every |cosine| below {THRESHOLD}{narrow})"
    )
