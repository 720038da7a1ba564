"""The rivals: DP-LoRA, FFA-LoRA, RoLoRA, and head-only, the baseline that shows whether an adapter pays."""

from __future__ import annotations

from lalora_kit.methods.filter import binomial_smooth
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


DP_LORA = Method("dp-lora", "arXiv 2312.17493", together)
DP_LORA_FILTER = Method("dp-lora-filter", "ablation of arXiv 2602.19926: filter only", together, binomial_smooth)
FFA_LORA = Method("ffa-lora", "arXiv 2403.12313, ICLR 2024", only_b)
ROLORA = Method("rolora", "arXiv 2502.01755, NeurIPS 2025", by_round)
HEAD_ONLY = Method("head-only", "baseline: the backbone stays as it is", nothing)
