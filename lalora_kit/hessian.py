"""Extreme eigenvalues of a Hessian that is never formed: Hessian-vector products, and Lanczos on them.

What `lalora_kit.sharpness` measures with (PyHessian's idea). Lanczos rather than power iteration: it
takes fewer products, and finds the largest eigenvalue, not the one of largest magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Product = Callable[[Tensor], Tensor]
Loss = Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Sharpness:
    """Extreme eigenvalues of a Hessian, by Lanczos.

    largest, smallest: λ_max and λ_min, of the algebraic order (a saddle has a negative λ_min).
    error: bound on the distance of `largest` to an eigenvalue: the norm of the residual ‖H·v − λ·v‖.
    products: Hessian-vector products spent.
    converged: whether `error` is below the tolerance; if not, `largest` is a lower bound of λ_max.
    """

    largest: float
    smallest: float
    error: float
    products: int
    converged: bool


def hessian_product(parts: Sequence[Loss], point: Sequence[Tensor]) -> Product:
    """v `(d,)` -> H·v `(d,)` in float64 on the CPU, for the sum of the parts at a point.

    The point's tensors are flattened in order. Fused attention has no second derivative, so inside attention is
    computed by its plain formula.
    """
    leaves = [value.detach().clone().requires_grad_() for value in point]

    def product(vector: Tensor) -> Tensor:
        pieces = vector.split([leaf.numel() for leaf in leaves])
        along = [piece.reshape(leaf.shape).to(leaf) for piece, leaf in zip(pieces, leaves, strict=True)]
        total = torch.zeros_like(vector)
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            for part in parts:
                slope = torch.autograd.grad(part(leaves), leaves, create_graph=True)
                inner = sum((g * v).sum() for g, v in zip(slope, along, strict=True))
                curve = torch.autograd.grad(inner, leaves, materialize_grads=True)  # type: ignore[arg-type]
                total += torch.cat([c.flatten().double().cpu() for c in curve])
        return total

    return product


def lanczos(
    product: Product, size: int, generator: np.random.Generator, most_products: int = 60, tolerance: float = 1e-3
) -> Sharpness:
    """Extreme eigenvalues of the symmetric `(size, size)` matrix behind `product`, from a random start.

    Every new direction is made orthogonal to all before it (twice), so memory is `most_products` vectors. NaN if a
    product is not finite.
    """
    start = torch.from_numpy(generator.standard_normal(size))
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        image = product(basis[-1])
        diagonal.append(float(image @ basis[-1]))
        known = torch.stack(basis)  # (k, size)
        for _ in range(2):
            image = image - known.T @ (known @ image)
        rest = float(image.norm())
        if not math.isfinite(rest):
            return Sharpness(math.nan, math.nan, math.nan, len(basis), False)
        small = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        values, vectors = np.linalg.eigh(small)
        error = rest * abs(float(vectors[-1, -1]))
        whole = len(basis) == size or rest <= 1e-12 * float(np.abs(values).max())  # nothing is left to look at
        done = whole or error <= tolerance * abs(float(values[-1]))
        if done or len(basis) == most_products:
            return Sharpness(float(values[-1]), float(values[0]), error, len(basis), done)
        beside.append(rest)
        basis.append(image / rest)
