"""Fed-SB (arXiv 2502.15436): W = W0 + s·U·R·Vᵀ with fixed U and V; only R `(r, r)` is trained, sent and noised.

Here B = U·R and A = Vᵀ: the gradient of B is looked at as Uᵀ·∇B, which is the gradient of R, and what comes out of the
mechanism moves B within the columns of U.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.methods.baselines import only_b
from lalora_kit.methods.hooks import Chart
from lalora_kit.methods.method import About, Method


def of_the_base(adapter: Adapter, backbone: nn.Module, generator: np.random.Generator) -> Adapter:
    """U `(m, r)` and A = Vᵀ `(r, n)`: the first singular directions of each frozen weight; B = U·0."""
    kept, made = dict(adapter.tensors), {}
    for name, A in adapter.of("A").items():
        weight: Tensor = backbone.get_submodule(name).weight.detach().cpu().double()  # type: ignore[union-attr, assignment, operator]
        U, _, Vh = torch.linalg.svd(weight, full_matrices=False)
        made["A", name], kept["U", name] = Vh[: len(A)].to(A.dtype), U[:, : len(A)].to(A.dtype)
    return Adapter({**kept, **made}, adapter.scale)


def small(local: Adapter, active: Sequence[Key]) -> Chart:
    """Uᵀ·∇B `(r, r)` and back; U is one for all clients."""
    chart = Chart({}, {}, {}, {})
    for kind, name in active:
        if kind == "B":
            U = local.tensors["U", name].expand(len(local.tensors["B", name]), -1, -1)  # (clients, m, r)
            chart.left["B", name], chart.back_left["B", name] = U.mT, U
    return chart


def the_small_one(adapter: Adapter, trained: frozenset[str]) -> int:
    """r² numbers a layer, and the head."""
    return adapter.size(frozenset()) + sum(len(A) ** 2 for A in adapter.of("A").values())


FED_SB = Method(
    "fed-sb", "arXiv 2502.15436, TMLR 2026", only_b, begins=of_the_base, chart=small, sends=the_small_one,
    optimizers=("sgd",),
    about=About(
        does="trains an r×r matrix between fixed U and V",
        trains="r×r numbers", sends="r² up, r² down", exact="exact: U and V are the same for all", sums="yes",
        privacy="noise on r² numbers: the least of all, in exchange for the least reach",
        changed="U and V are singular directions of the frozen weight, which is public (the paper's come from "
        "gradients of the private data); R begins at zero; SGD alone",
    ),
)  # fmt: skip
