"""The rivals: DP-LoRA, FFA-LoRA, RoLoRA, and head-only, the baseline that shows whether an adapter pays."""

from __future__ import annotations

from dataclasses import replace

from lalora_kit.methods.filter import binomial_smooth
from lalora_kit.methods.method import BOTH, NONE, A, About, B, Method


def together(round: int, step: int) -> frozenset[str]:
    """Both factors at every local step."""
    return BOTH


def only_b(round: int, step: int) -> frozenset[str]:
    """B at every local step; A stays as it was drawn."""
    return B


def by_round(round: int, step: int) -> frozenset[str]:
    """B in odd rounds, A in even ones."""
    return B if round % 2 == 1 else A


def nothing(round: int, step: int) -> frozenset[str]:
    """No factor: the head alone."""
    return NONE


DP_LORA = Method(
    "dp-lora", "arXiv 2312.17493", together,
    about=About(
        does="trains A and B in every step, and averages both",
        trains="A and B", sends="r(m+n) up, r(m+n) down", exact="not exact: factors are averaged", sums="yes",
        privacy="noise on r(m+n) numbers; in W it is multiplied with the factors and with itself",
        changed="each sample is clipped over both factors at once; the paper clips them apart, and leaves open of what",
    ),
)  # fmt: skip
DP_LORA_FILTER = Method(
    "dp-lora-filter", "ablation of arXiv 2602.19926: filter only", together, binomial_smooth,
    about=replace(DP_LORA.about, does="dp-lora with LA-LoRA's filter", changed="ours: tells the filter alone"),
)  # fmt: skip
FFA_LORA = Method(
    "ffa-lora", "arXiv 2403.12313, ICLR 2024", only_b,
    about=About(
        does="trains B alone; A stays as it was drawn",
        trains="B", sends="rm up, rm down", exact="exact: all have the same A", sums="yes",
        privacy="noise on rm numbers, linear in W over the whole run",
    ),
)  # fmt: skip
ROLORA = Method(
    "rolora", "arXiv 2502.01755, NeurIPS 2025", by_round,
    about=About(
        does="trains B in odd rounds, A in even ones",
        trains="B or A", sends="rm or rn up, rm or rn down", exact="exact: all have the same other factor", sums="yes",
        privacy="noise on rm or rn numbers, linear in W within a round",
        changed="clipped and noised, which the paper's is not; the optimiser starts fresh each round",
    ),
)  # fmt: skip
HEAD_ONLY = Method(
    "head-only", "baseline: the backbone stays as it is", nothing,
    about=About(
        does="trains the head alone: what an adapter has to beat",
        trains="nothing", sends="nothing", exact="exact: there is nothing to average", sums="yes",
        privacy="noise on the head's numbers alone",
    ),
)  # fmt: skip
