"""A layer's factors with one draw of noise for each, and the four products that come of them: lesson 02's picture."""

from __future__ import annotations

import math

import numpy as np

from lalora_kit.engine.adapters import Adapter
from lalora_kit.figures.pictures.factors import Parts
from lalora_kit.lessons.amplification import pairs
from lalora_kit.privacy import gaussian


def parts_of(adapter: Adapter, generator: np.random.Generator) -> Parts:
    """Of the smallest layer: A `(r, n)`, B `(m, r)`, noise of deviation 1 for each, and the products `(m, n)`."""
    A, B = (x.numpy() for x in min(pairs(adapter), key=lambda pair: len(pair[1]) * pair[0].shape[1]))
    N_A, N_B = (gaussian(math.prod(x.shape), 1.0, generator).numpy().reshape(x.shape) for x in (A, B))
    return {
        "A": A, "N_A": N_A, "B": B, "N_B": N_B,
        "B·A": adapter.scale * B @ A, "B·N_A": adapter.scale * B @ N_A,
        "N_B·A": adapter.scale * N_B @ A, "N_B·N_A": adapter.scale * N_B @ N_A,
    }  # fmt: skip
