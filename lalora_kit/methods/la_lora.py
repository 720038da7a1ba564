"""LA-LoRA (arXiv 2602.19926): local alternation of B and A, and a fixed low-pass filter after the noise.

B goes first: while B is zero the gradient of A is zero, so an A-first step would be paid for and be pure noise.
"""

from __future__ import annotations

from dataclasses import replace

from lalora_kit.methods.filter import binomial_smooth
from lalora_kit.methods.method import A, About, B, Method


def alternate(round: int, step: int) -> frozenset[str]:
    """B at odd local steps, A at even ones; the count restarts each round. Line 4 of the algorithm in lesson 04."""
    return B if step % 2 == 1 else A


LA_LORA = Method(
    "la-lora", "arXiv 2602.19926, ICLR 2026", alternate, binomial_smooth, least_local_steps=2,
    about=About(
        does="trains B and A in turn, a step each, and filters what was noised",
        trains="B and A in turn", sends="r(m+n) up, r(m+n) down", exact="not exact: factors are averaged", sums="yes",
        privacy="noise on rm or rn numbers, a quarter of it after the filter; linear in W within a step",
        changed="each sample is clipped, at a norm that knows no data (the released code clips a batch, at a median "
        "of its norms, and fits no σ to ε); means are weighted by the clients' sizes",
    ),
)  # fmt: skip
LA_LORA_NOFILTER = Method(
    "la-lora-nofilter", "ablation of arXiv 2602.19926: alternation only", alternate, least_local_steps=2,
    about=replace(
        LA_LORA.about, does="la-lora without the filter",
        privacy="noise on rm or rn numbers; linear in W within a step", changed="ours: tells alternation alone",
    ),
)  # fmt: skip
