"""LA-LoRA (arXiv 2602.19926): local alternation of B and A, and a fixed low-pass filter after the noise.

B goes first: while B is zero the gradient of A is zero, so an A-first step would be paid for and be pure noise.
"""

from __future__ import annotations

from lalora_kit.methods.filter import binomial_smooth
from lalora_kit.methods.hooks import About
from lalora_kit.methods.method import A, B, Method


def alternate(round: int, step: int) -> frozenset[str]:
    """B at odd local steps, A at even ones; the count restarts each round."""
    return B if step % 2 == 1 else A


LA_LORA = Method(
    "la-lora", "arXiv 2602.19926, ICLR 2026", alternate, binomial_smooth, least_local_steps=2,
    about=About("trains B and A in turn, step by step, and smooths each noised gradient"),
)  # fmt: skip
LA_LORA_NOFILTER = Method(
    "la-lora-nofilter", "ablation of arXiv 2602.19926: alternation only", alternate, least_local_steps=2,
    about=About("la-lora without smoothing: B and A in turn, step by step"),
)  # fmt: skip
