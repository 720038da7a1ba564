"""Products of rows that belong to groups, each group with a matrix of its own; and gradients of each row apart.

A sample's gradient in a linear layer is Σ_t δ_t x_tᵀ over its tokens t, of the gradient δ at the layer's output and
what went in. A hook meets δ in the backward pass and multiplies at once: with more tokens than ranks the product is
smaller than its two sides, and cheaper in float64. Of one token the sides are smaller, and are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Gradient:
    """A matrix for each sample: its numbers `(samples, d)`, or two sides `(samples, a)` and `(samples, b)`."""

    left: Tensor
    right: Tensor | None = None

    def norms(self) -> Tensor:
        """L2 norms `(samples,)`, float64. The sides' norms multiply, and no terms cancel."""
        found = torch.linalg.vector_norm(self.left, dim=1, dtype=torch.float64)
        if self.right is None:
            return found
        return found * torch.linalg.vector_norm(self.right, dim=1, dtype=torch.float64)

    def only(self, kept: Tensor) -> Gradient:
        """Zero in the samples that are not `kept` `(samples,)`, whatever they hold."""
        left, right = (None if v is None else torch.where(kept[:, None], v, 0.0) for v in (self.left, self.right))
        return Gradient(left, right)  # type: ignore[arg-type]

    def added(self, weights: Tensor, at: Layout) -> Tensor:
        """Σ_j weights_j · (matrix of j) of each group, `(groups, d)`, float64; a group is widened at a time."""
        if at.sizes is None:
            share = F.one_hot(at.owner, at.groups).T * weights  # (groups, samples)
            return added(share, self.left, self.right)
        sides = [side.split(at.sizes) for side in (self.left, self.right) if side is not None]
        return torch.cat([added(w[None], *mine) for w, *mine in zip(weights.split(at.sizes), *sides, strict=True)])


def added(share: Tensor, left: Tensor, right: Tensor | None = None) -> Tensor:
    """Σ_j share[c, j]·left_j, or times right_jᵀ, `(groups, d)` in float64."""
    if right is None:
        return share @ left.double()
    weighted = share.unsqueeze(2) * left.double()  # (groups, samples, a)
    return (weighted.mT @ right.double()).flatten(1)


class Layout:
    """Which group each sample is of: `owner` `(samples,)`, in order, and on a CPU `sizes`, how many each group has.

    On a CPU a product for each group is fastest. Elsewhere a call is dear, and one product serves all groups.
    """

    def __init__(self, owner: Tensor, groups: int, device: torch.device) -> None:
        self.owner, self.groups = owner.to(device), groups
        self.sizes = owner.bincount(minlength=groups).tolist() if device.type == "cpu" else None
        self.anchor = torch.zeros((), device=device, requires_grad=True)  # puts what is watched into the graph

    def product(self, x: Tensor, W: Tensor, scale: float = 1.0, onto: Tensor | None = None) -> Tensor:
        """scale·x·Wᵀ `(samples, tokens, m)` of x `(samples, tokens, n)` and W `(groups, m, n)`, the owner's.

        `onto` is added to in place. Each row comes of one row of x: what is not finite in a sample stays there.
        """
        shape, beta = (*x.shape[:2], W.shape[1]), int(onto is not None)
        out = x.new_empty(shape) if onto is None else onto.view(shape)
        if self.sizes is None:
            return out.baddbmm_(x, W.index_select(0, self.owner).mT, beta=beta, alpha=scale)
        rows = [size * shape[1] for size in self.sizes]
        parts = zip(out.flatten(0, 1).split(rows), x.flatten(0, 1).split(rows), W.mT.unbind(), strict=True)
        for part, mine, weight in parts:
            part.addmm_(mine, weight, beta=beta, alpha=scale)
        return out

    def apart(self, x: Tensor, weights: Iterable[Tensor], out: Tensor, bias: Tensor | None = None) -> Tensor:
        """x·weight + bias, written to `out` `(samples·..., m)`; each group's weight `(n, m)` comes in its turn."""
        rows = [size * x.shape[1] for size in self.sizes or []]
        parts = zip(out.view(-1, out.shape[-1]).split(rows), x.flatten(0, 1).split(rows), weights, strict=True)
        for part, mine, weight in parts:
            torch.mm(mine, weight, out=part) if bias is None else torch.addmm(bias, mine, weight, out=part)
        return out


class Product(torch.autograd.Function):
    """x·Wᵀ `(samples, tokens, m)` of what is watched; the anchor gets no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Watched, _: Any) -> Tensor:  # noqa: D102
        ctx.W = W
        ctx.save_for_backward(x if W.active else None)
        return W.at.product(x, W.value.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        [gradient], W = gradients, ctx.W
        if W.active:
            W.add(gradient, ctx.saved_tensors[0], 1.0)
        back = W.at.product(gradient, W.value.to(gradient.dtype).mT) if ctx.needs_input_grad[0] else None
        return back, None, None


class Watched:
    """The groups' copies `(groups, ...)` of one tensor; `found` becomes its gradient per sample if it is active."""

    def __init__(self, value: Tensor, active: bool, at: Layout) -> None:
        self.value, self.active, self.at, self.ndim = value, active, at, value.ndim
        self.anchor = at.anchor if active else None
        self.found: Gradient | None = None

    def __len__(self) -> int:
        return len(self.at.owner)

    def times(self, x: Tensor) -> Tensor:
        """x·valueᵀ, in autocast's precision where that is on."""
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        return Product.apply(x.to(dtype), self, self.anchor)

    def plus(self, y: Tensor) -> Tensor:
        """y + value for a bias `(groups, m)`."""
        rows = self.value.index_select(0, self.at.owner).unsqueeze(1)
        if self.anchor is not None:
            rows = rows + self.anchor
            rows.register_hook(lambda gradient: self.add(gradient, None, 1.0))
        return y + rows

    def add(self, left: Tensor, right: Tensor | None, scale: float) -> None:
        """The gradient of one call of the layer: there may be more, and they add up."""
        dtype, before = self.value.dtype, self.found
        if right is not None and left.shape[1] == 1 and before is None:
            self.found = Gradient(left.squeeze(1).to(dtype), right.squeeze(1).to(dtype) * scale)
            return
        new = (left if right is None else outer(left, right)).flatten(1).to(dtype)
        new = new if scale == 1 else new * scale
        if before is not None:
            whole = before.left if before.right is None else torch.einsum("sa,sb->sab", before.left, before.right)
            new = new + whole.flatten(1)
        self.found = Gradient(new)


def outer(left: Tensor, right: Tensor) -> Tensor:
    """Σ_t left_t·right_tᵀ `(samples, a, b)`; on a CPU this is much faster with the narrow side first."""
    return torch.bmm(left.mT, right) if left.shape[2] <= right.shape[2] else torch.bmm(right.mT, left).mT
