"""Fed-RAC-LoRA (arXiv 2410.08305): a random orthonormal sketch a round; A is trained from zero, averaged, merged.

W moves by s·B_S·Ā, within the columns of this round's sketch; E[B_S·B_Sᵀ] = (r/m)·I, so that over rounds every
direction has its turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lalora_kit.engine.adapters import Adapter, average
from lalora_kit.methods.algebra import by_layer, merge_product, orthonormal, with_base
from lalora_kit.methods.hooks import counted
from lalora_kit.methods.method import A, About, Method


def only_a(round: int, step: int) -> frozenset[str]:
    """A at every local step; B stands."""
    return A


def new_sketch(server: Adapter, round: int, generator: np.random.Generator) -> Adapter:
    """B `(m, r)` with orthonormal random columns, and A zero: the weight is the base alone."""
    return by_layer(server, lambda name: {
        "A": torch.zeros_like(server.tensors["A", name]),
        "B": orthonormal(server.tensors["B", name].shape, generator),
    })  # fmt: skip


def merge_sketch(
    broadcast: Adapter, clients: Sequence[Adapter], weights: Sequence[float], trained: frozenset[str]
) -> Adapter:
    """The mean of A times the sketch goes into the base."""
    return merge_product(average(broadcast, clients, weights, trained))


def and_seed(drawn: Adapter, clients: int) -> tuple[float, float]:
    """A up; A and a seed down."""
    return counted(drawn, lambda m, n, r: r * n), counted(drawn, lambda m, n, r: r * n) + 1


RAC_LORA = Method(
    "rac-lora", "arXiv 2410.08305", only_a, aggregate=merge_sketch, begins=with_base, opens=new_sketch,
    traffic=and_seed,
    about=About(
        does="trains A against a fresh random orthonormal B each round; the mean is merged into the base",
        trains="A", sends="rn up, rn and a seed down", exact="exact: all have the same B", sums="yes",
        privacy="noise on rn numbers, linear in W over the whole run; the sketch knows no data",
        changed="sketches are orthonormal; merges come every round, and the optimiser starts fresh at each",
    ),
)  # fmt: skip
