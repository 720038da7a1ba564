"""Budgets: how a step spends the clip norm C, on all of a unit's gradient at once or on head and adapter apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Key

MARGIN = 1 - 1e-6  # keeps rounding from lifting a clipped norm above C


@dataclass(frozen=True)
class Budgets:
    """C in parts, for groups of a step's tensors: how many tensors, in order, and the group's share of C².

    Every tensor is in one group, and the shares add up to 1. Group g of a unit is clipped to C·√share_g by itself
    (group-wise clipping: McMahan et al. 2018; He et al. 2023). Groups are different coordinates of one vector, so its
    squared norm is the sum of theirs, at most Σ share_g·C² = C². One unit moves a sum by at most C as ever, and noise
    σC on every number gives the same ε. Were each group clipped to C, it would be √groups·C.
    """

    clip_norm: float
    parts: tuple[tuple[int, float], ...]


Clip = float | Budgets  # C over all tensors at once, or in parts


def clip_of(clip_norm: float, head_share: float, active: Sequence[Key]) -> Clip:
    """How a step clips: of C² `head_share` to the head and the rest to its factors, or all at once.

    A share of 0 is no budget of its own; and a step without a factor has nobody to share C with.
    """
    factors = sum(kind != "head" for kind, _ in active)
    assert not any(kind == "head" for kind, _ in active[:factors]), "keys are in order: the head's come last"
    if not head_share or not factors:
        return clip_norm
    return Budgets(clip_norm, ((factors, 1 - head_share), (len(active) - factors, head_share)))


def shrunk(norms: Tensor, finite: Tensor, clip: Clip) -> tuple[list[Tensor], Tensor]:
    """What each unit is multiplied by, from the norms of its tensors `(tensors, samples)` and where all are `finite`.

    Returns:
        a factor `(samples,)` for each tensor, the same one within a group; and what is held against C `(samples,)`, NaN
        where not finite: the norm, or of groups the largest norm/√share. In these units every group's bound is C.
    """
    C, parts = (clip.clip_norm, clip.parts) if isinstance(clip, Budgets) else (clip, ((len(norms), 1.0),))
    bound, factors, lengths = C * MARGIN, [], []
    for (count, share), group in zip(parts, norms.split([count for count, _ in parts]), strict=True):
        length = group.square().sum(dim=0).sqrt() / math.sqrt(share)
        factors += [torch.where(finite & (length > bound), bound / length.clamp_min(1e-300), 1.0)] * count
        lengths.append(length)
    return factors, torch.where(finite, torch.stack(lengths).amax(dim=0), torch.nan)
