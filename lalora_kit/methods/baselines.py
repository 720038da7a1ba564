"""The rivals: DP-LoRA, FFA-LoRA, RoLoRA, and head-only, the baseline that shows whether an adapter pays."""

from __future__ import annotations

from lalora_kit.methods.filter import binomial_smooth
from lalora_kit.methods.hooks import About
from lalora_kit.methods.method import BOTH, NONE, A, B, Method


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


DP_LORA = Method("dp-lora", "arXiv 2312.17493", together, about=About("trains A and B together, at every step"))
DP_LORA_FILTER = Method(
    "dp-lora-filter", "ablation of arXiv 2602.19926: filter only", together, binomial_smooth,
    about=About("dp-lora with la-lora's smoothing of each noised gradient"),
)  # fmt: skip
FFA_LORA = Method(
    "ffa-lora", "arXiv 2403.12313, ICLR 2024", only_b, about=About("trains B alone; A stays as it was drawn")
)
ROLORA = Method(
    "rolora", "arXiv 2502.01755, NeurIPS 2025", by_round, about=About("trains B in one round and A in the next")
)
HEAD_ONLY = Method(
    "head-only",
    "baseline: the backbone stays as it is",
    nothing,
    about=About("trains the head alone, without an adapter"),
)
