"""Controls: what tells the idea of a filter from what comes along with it. Not in `METHODS`; lesson 04 uses them.

A filter assumes that neighbours along the long axis belong together. Channels of a transformer have no such order
by nature, so `la-lora-permuted` shuffles them first: the same shrinking of noise and step, and no neighbourhood.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lalora_kit.methods.filter import LONG_AXIS, binomial_smooth
from lalora_kit.methods.hooks import About
from lalora_kit.methods.la_lora import alternate
from lalora_kit.methods.method import Method

SHUFFLE = 20260219
#: Share of white noise that the filter lets through (standard deviation): √(70/256).
PASSED = 0.523


@lru_cache(maxsize=64)
def shuffle(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A fixed random order of `size` channels, and its inverse; the same in every run."""
    order = np.random.default_rng([SHUFFLE, size]).permutation(size)
    return order, np.argsort(order)


@lru_cache(maxsize=64)
def shuffle_on(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The same on a device, where it stays: a copy a step would make the host wait."""
    there, back = (torch.from_numpy(order).to(device) for order in shuffle(size))
    return there, back


def permuted_smooth(gradient: Tensor, factor: str) -> Tensor:
    """The binomial filter between a fixed shuffle of the long axis and its inverse. Linear; keeps constants."""
    axis = LONG_AXIS[factor]
    there, back = shuffle_on(gradient.shape[axis], gradient.device)
    return binomial_smooth(gradient.index_select(axis, there), factor).index_select(axis, back)


LA_LORA_PERMUTED = Method(
    "la-lora-permuted", "control of arXiv 2602.19926: filter over shuffled channels", alternate, permuted_smooth,
    least_local_steps=2, about=About("la-lora with channels shuffled before its smoothing"),
)  # fmt: skip
CONTROLS: dict[str, Method] = {method.name: method for method in (LA_LORA_PERMUTED,)}
