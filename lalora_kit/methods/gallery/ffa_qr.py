"""FFA-LoRA with an A whose rows are orthonormal: the control that FedSVD equals under SGD.

A as it is drawn has rows of norm about 0.58, so that the same rate moves W less than with rows of norm one. Whoever
compares with a method that makes A orthonormal compares with that too; this one has nothing else.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from lalora_kit.engine.adapters import Adapter
from lalora_kit.methods.algebra import by_layer, rows_apart
from lalora_kit.methods.baselines import only_b
from lalora_kit.methods.method import About, Method


def orthonormal_a(adapter: Adapter, backbone: nn.Module, generator: np.random.Generator) -> Adapter:
    """A's rows made orthonormal, once; B is zero, so the model stays what it is."""
    return by_layer(adapter, lambda name: {"A": rows_apart(adapter.tensors["A", name])[1]})


FFA_LORA_QR = Method(
    "ffa-lora-qr", "control of arXiv 2505.12805: FFA-LoRA from an orthonormal A", only_b, begins=orthonormal_a,
    about=About(
        does="trains B; A's rows are made orthonormal once, then stand",
        trains="B", sends="rm up, rm down", exact="exact: all have the same A", sums="yes",
        privacy="noise on rm numbers; linear in W, of energy rm",
        changed="ours: isolates the orthonormal A of FedSVD",
    ),
)  # fmt: skip
