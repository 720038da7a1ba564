"""Extreme eigenvalues of a Hessian that is never formed: Hessian-vector products, and SciPy's `eigsh` on them.

What `lalora_kit.lessons.sharpness` measures with (PyHessian's idea). Lanczos rather than power iteration: it
takes fewer products, and finds the largest eigenvalue, not the one of largest magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Product = Callable[[Tensor], Tensor]
Loss = Callable[[Sequence[Tensor]], Tensor]


BASIS = 14  # vectors that Lanczos keeps
SHIFT = 0.61803  # of the spectrum's scale: no special number, so that no eigenvalue lies just there
FLOOR = 1e-6  # a λ below this share of the spectrum's scale is told to that scale's tolerance
WHICH = {"largest": "LA", "smallest": "SA"}
NAMES = {"largest": "λ_max", "smallest": "λ_min"}


@dataclass(frozen=True)
class Sharpness:
    """Extreme eigenvalues of a Hessian, by Lanczos.

    largest, smallest: λ_max and λ_min, of the algebraic order (a saddle has a negative λ_min); each is NaN where it did
        not converge, or was not asked for.
    error: bound on the distance of `largest` to an eigenvalue: the norm of the residual ‖H·v − λ·v‖.
    products: Hessian-vector products spent.
    said: which end did not converge, and what to do; empty where all that was asked for did.
    """

    largest: float
    smallest: float
    error: float
    products: int
    said: str = ""

    @property
    def converged(self) -> bool:
        """Whether every end that was asked for did."""
        return not self.said

    def __str__(self) -> str:
        ends = {"λ_max": self.largest, "λ_min": self.smallest}
        told = [f"{name} {value:.4g}" for name, value in ends.items() if math.isfinite(value)]
        return "; ".join([*told, self.said] if self.said else told)


def hessian_product(parts: Sequence[Loss], point: Sequence[Tensor]) -> Product:
    """v `(d,)` -> H·v `(d,)` in float64 on the CPU, for the sum of the parts at a point.

    The point's tensors are flattened in order. Fused attention has no second derivative, so inside attention is
    computed by its plain formula. Of one part alone the gradient is taken once and kept for all products; of several,
    which are several because they do not fit, it is taken anew each time.
    """
    leaves = [value.detach().clone().requires_grad_() for value in point]

    def slope(part: Loss) -> tuple[Tensor, ...]:
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            return torch.autograd.grad(part(leaves), leaves, create_graph=True)

    only = slope(parts[0]) if len(parts) == 1 else None

    def product(vector: Tensor) -> Tensor:
        pieces = vector.split([leaf.numel() for leaf in leaves])
        along = [piece.reshape(leaf.shape).to(leaf) for piece, leaf in zip(pieces, leaves, strict=True)]
        total = torch.zeros_like(vector)
        for part in parts:
            found = zip(slope(part) if only is None else only, along, strict=True)
            bent, by = zip(*((g, v) for g, v in found if g.requires_grad), strict=True)  # the others are constant
            curve = torch.autograd.grad(bent, leaves, by, retain_graph=only is not None, materialize_grads=True)  # type: ignore[arg-type]
            total += torch.cat([c.flatten().double().cpu() for c in curve])
        return total

    return product


def lanczos(
    product: Product,
    size: int,
    generator: np.random.Generator,
    most_products: int = 200,
    tolerance: float = 1e-3,
    *,
    smallest: bool = True,
) -> Sharpness:
    """Extreme eigenvalues of the symmetric `(size, size)` matrix behind `product`, by ARPACK's restarted Lanczos.

    Each end is told when it has converged by itself: the residual is at most tolerance · |λ|. A matrix of up to 14
    rows is written out, one product a column, and is exact. Memory is 14 vectors.

    Args:
        product: v `(size,)` in float64 -> H·v.
        size: rows.
        generator: of the first direction; the same generator gives the same numbers.
        most_products: for each end, about; what does not converge within them is NaN, and `said` says so.
        tolerance: relative error of an eigenvalue.
        smallest: False saves the products of the lower end, which is then NaN.
    """
    asked = ("largest", "smallest") if smallest else ("largest",)
    counted = Counted(product)
    try:
        if size <= BASIS:
            exact = np.linalg.eigvalsh(np.stack([counted(row) for row in np.eye(size)]))
            low = float(exact[0]) if smallest else math.nan
            return Sharpness(float(exact[-1]), low, 0.0, counted.spent)
        start = generator.standard_normal(size)
        scale = float(np.linalg.norm(counted(start)) / np.linalg.norm(start))  # about the mean square of all λ, rooted
        if scale == 0:  # a random direction sees every matrix but the one of zeros
            return Sharpness(0.0, 0.0 if smallest else math.nan, 0.0, counted.spent)
        ends = {end: extreme(counted, start, scale, end, most_products, tolerance) for end in asked}
    except NotFinite:
        return Sharpness(math.nan, math.nan, math.nan, counted.spent, "a product with the Hessian is not finite")
    missing = [NAMES[end] for end in asked if math.isnan(ends[end][0])]
    said = f"{' and '.join(missing)} did not converge to {tolerance:g}; allow more than {most_products} products"
    (largest, error), (low, _) = ends["largest"], ends.get("smallest", (math.nan, math.nan))
    return Sharpness(largest, low, error, counted.spent, said if missing else "")


class NotFinite(ArithmeticError):
    """A product with the matrix holds a NaN or an infinity."""


class Counted:
    """A product as NumPy's arrays, in float64, with a count of how often it was asked for."""

    def __init__(self, product: Product) -> None:
        self.product, self.spent = product, 0

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """H·v `(size,)`; stops at once where it is not finite."""
        self.spent += 1
        image = self.product(torch.from_numpy(np.array(vector, dtype=np.float64).ravel())).numpy()
        if not np.isfinite(image).all():
            raise NotFinite
        return image


def extreme(
    product: Counted, start: np.ndarray, scale: float, end: str, most_products: int, tolerance: float
) -> tuple[float, float]:
    """An end of the spectrum and the norm of its residual ‖H·v − λ·v‖; NaN where it does not converge.

    ARPACK first multiplies its start by the matrix, which would hide an end at 0 (a flat direction) from it, and it
    stops by an error relative to what it sees. So it is given H + SHIFT·scale·I, and is asked again, more strictly, as
    long as the residual is too large for λ itself.
    """
    shift = SHIFT * scale
    shape = (len(start), len(start))
    operator = LinearOperator(shape, matvec=lambda v: product(v) + shift * v.ravel(), dtype=np.float64)
    strict, spent = tolerance, product.spent
    while (left := most_products - (product.spent - spent)) >= BASIS:
        restarts = max(1, (left - BASIS) // (BASIS // 2))  # the first fills the basis, each later one half of it
        try:
            values, vectors = eigsh(
                operator, k=1, which=WHICH[end], v0=start, ncv=BASIS, maxiter=restarts, tol=strict
            )  # fmt: skip
        except ArpackNoConvergence:
            break
        value, vector = float(values[0]) - shift, vectors[:, 0]
        error = float(np.linalg.norm(product(vector) - value * vector))
        needed = tolerance * max(abs(value), FLOOR * scale)
        if error <= needed or strict == 0:
            return value, error
        strict = 0.5 * min(strict, needed / abs(value + shift))
    return math.nan, math.nan
