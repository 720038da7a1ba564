"""A frozen linear layer with LoRA beside it, for rows that belong to groups: each group has factors of its own.

On a CPU a group goes through one matrix, W0 + scale·B·A (`Merged`). Elsewhere, and where that matrix would not be the
layer, the low-rank way is added to what the layer gives (`Adapted`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear

from lalora_kit.base.rows import Watched

ROWS = 2  # times as many rows a group as the matrix is wide, from which on merging it pays


class Adapted(torch.autograd.Function):
    """A whole LoRA layer, base + scale·B·A·x, where no base stands for frozen(x); the anchor gets no gradient.

    One function, so that both ways are added up in place, there and back: nothing as large as a layer is copied.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, x: Tensor, base: Tensor | None, frozen: Linear, A: Watched, B: Watched, scale: float, _: Any
    ) -> Tensor:
        y = frozen(x).contiguous() if base is None else base.clone(memory_format=torch.contiguous_format)
        rows = x.to(y.dtype).reshape(len(A), -1, x.shape[-1])  # -> (S, windows·tokens, n)
        low = A.at.product(rows, A.value.to(y.dtype))  # -> (S, windows·tokens, r)
        B.at.product(low, B.value.to(y.dtype), scale, onto=y)
        ctx.save_for_backward(rows if A.active else None, low if B.active else None)
        ctx.frozen, ctx.factors, ctx.scale = frozen if base is None else None, (A, B), scale
        ctx.shape, ctx.dtype = x.shape, x.dtype
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        [given], (rows, low), (A, B), back = gradients, ctx.saved_tensors, ctx.factors, None
        gradient = given.reshape(len(B), -1, given.shape[-1])
        if B.active:
            B.add(gradient, low, ctx.scale)
        if A.active or ctx.needs_input_grad[0]:
            inner = B.at.product(gradient, B.value.to(gradient.dtype).mT.contiguous(), ctx.scale)
            if A.active:
                A.add(inner, rows, 1.0)
            if ctx.needs_input_grad[0]:
                back = None if ctx.frozen is None else gradient @ ctx.frozen.weight.to(gradient.dtype)
                back = A.at.product(inner, A.value.to(gradient.dtype).mT, onto=back).view(ctx.shape).to(ctx.dtype)
        return back, given if ctx.needs_input_grad[1] else None, *(None,) * 5


class Merged(torch.autograd.Function):
    """A whole LoRA layer on a CPU, each group through one matrix, W + scale·B·A; the anchor gets no gradient.

    Beside a matrix of the layer's size a narrow product is dear on a CPU: of `Adapted`'s five this leaves the one or
    two that the gradients need.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, x: Tensor, W: Tensor, bias: Tensor | None, A: Watched, B: Watched, scale: float, _: Any
    ) -> Tensor:
        rows = x.reshape(len(A), -1, x.shape[-1])  # -> (S, windows·tokens, n)
        low = A.at.product(rows, A.value) if B.active else None  # -> (S, windows·tokens, r)
        ctx.save_for_backward(rows if A.active else None, low, W)
        ctx.factors, ctx.scale, ctx.shape = (A, B), scale, x.shape
        merged = (weight.mT for weight in weights(W, A, B, scale))
        return A.at.apart(rows, merged, x.new_empty(*x.shape[:-1], len(W)), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        [given], (rows, low, W), (A, B), back = gradients, ctx.saved_tensors, ctx.factors, None
        gradient = given.reshape(len(B), -1, given.shape[-1])
        if B.active:
            B.add(gradient, low, ctx.scale)
        if A.active:
            A.add(A.at.product(gradient, B.value.mT.contiguous(), ctx.scale), rows, 1.0)
        if ctx.needs_input_grad[0]:
            back = A.at.apart(gradient, weights(W, A, B, ctx.scale), gradient.new_empty(ctx.shape))
        return back, *(None,) * 6


def weights(W: Tensor, A: Watched, B: Watched, scale: float) -> Iterator[Tensor]:
    """W + scale·B·A `(m, n)` of each group, one at a time: of many groups and layers, all would fill the memory."""
    return (torch.addmm(W, b, a, alpha=scale) for a, b in zip(A.value, B.value, strict=True))


def as_written(frozen: Linear) -> bool:
    """Whether a layer is W0·x + b and nothing else: what a hook does to it, only torch can undo."""
    hooks = frozen._forward_hooks or frozen._forward_pre_hooks or frozen._backward_hooks
    return type(frozen).forward is Linear.forward and not hooks


def mergeable(x: Tensor, frozen: Linear, factor: Tensor) -> bool:
    """Whether one matrix may stand for the layer and its factors: never in bf16, where W0 would swallow B·A."""
    same = x.dtype == frozen.weight.dtype == factor.dtype and not torch.is_autocast_enabled(x.device.type)
    return same and as_written(frozen)


def through(x: Tensor, frozen: Linear, W: Tensor | None) -> Tensor:
    """(W0 + W)·x + b."""
    return frozen(x) if W is None else F.linear(x, frozen.weight + W, frozen.bias)


def adapted(x: Tensor, frozen: Linear, A: Watched, B: Watched, scale: float, W: Tensor | None = None) -> Tensor:
    """(W0 + W)·x + s·B·A·x, `(S·windows, ..., n)` -> `(S·windows, ..., m)`, with the factors of each sample's group."""
    anchor = A.anchor if B.anchor is None else B.anchor
    many = x.numel() >= ROWS * x.shape[-1] * min(frozen.weight.shape) * A.at.groups
    if A.at.sizes is not None and many and mergeable(x, frozen, A.value):
        weight = frozen.weight if W is None else frozen.weight + W
        return Merged.apply(x, weight, frozen.bias, A, B, scale, anchor)
    base = None if W is None and as_written(frozen) else through(x, frozen, W)
    return Adapted.apply(x, base, frozen, A, B, scale, anchor)
