"""Limits: what settings cannot ask of this task, this machine and these numbers; checked before any work.

`Settings` checks what it can know by itself; here is what depends on the layers, on torch, and on float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lalora_kit.engine.adapters import Adapter
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task

MOST_REACH = 1e15  # far below float32's 3e38, so that squares of it (AdamW's, a norm's) are finite as well
LEAST_STEP = 1e-8  # about half of the distance between two float32 near 0.1
ADAMW_EPS = 1e-8


def check_rank(task: Task, rank: int) -> None:
    """A rank above a layer's width or height would be no low-rank update."""
    widths = {name: min(task.backbone.get_submodule(name).weight.shape) for name in task.targets}  # type: ignore[union-attr, arg-type, misc, type-var]
    narrow = min(widths, key=lambda name: widths[name], default="")
    if narrow and rank > widths[narrow]:
        raise ValueError(
            f"rank={rank} is larger than the narrowest adapted layer ({narrow}, {widths[narrow]}); "
            f"choose a rank of at most {widths[narrow]}"
        )


def check_steps(settings: Settings, rates: Sequence[float], sigmas: Sequence[float], divisors: Sequence[float]) -> None:
    """Steps that float32 could not hold, or that would move nothing, are refused: they would cost ε for no result.

    Per client: sampling rate q, noise multiplier σ and divisor. A noised gradient is at most C/q, plus noise of
    standard deviation σC/divisor, of which 40 are never seen.
    """
    noises = [sigma * settings.clip_norm / divisor for sigma, divisor in zip(sigmas, divisors, strict=True)]
    largest = max(settings.clip_norm / q + 40 * noise for q, noise in zip(rates, noises, strict=True))
    if settings.precondition is not None:  # its inverse Gram matrix is at most 1/λ
        largest /= min(1.0, settings.scale**2 * settings.precondition)
    least = min((noise for noise in noises if noise), default=math.inf)
    high, low = (of(settings.learning_rate, settings.head_learning_rate) for of in (max, min))
    adamw = settings.optimizer == "adamw"
    far = max(largest, high * (1.0 if adamw else largest) * settings.rounds * settings.local_steps)
    near = low * (min(1.0, least / ADAMW_EPS) if adamw else least)
    values = (
        f"learning_rate={settings.learning_rate}, head_learning_rate={settings.head_learning_rate}, "
        f"clip_norm={settings.clip_norm}"
    )
    if far > MOST_REACH:
        raise ValueError(
            f"{values} could move a parameter by {far:.1e}, beyond what float32 computes with ({MOST_REACH:g}); "
            "lower the rates or the clip norm, or raise the sample rate"
        )
    if near < LEAST_STEP:
        raise ValueError(
            f"{values} make steps of about {near:.1e}, too small to move a float32 parameter ({LEAST_STEP:g}); "
            "raise the rates or the clip norm"
        )


def check_fits(adapter: Adapter, expected: Adapter, what: str) -> None:
    """Refuse an adapter whose tensors are not those of `expected` in name, shape and type, or are not finite."""
    unknown, missing = (
        adapter.tensors.keys() - expected.tensors.keys(),
        expected.tensors.keys() - adapter.tensors.keys(),
    )
    if unknown or missing:
        raise ValueError(
            f"{what} does not fit the task: it holds {sorted(unknown)[:3]} besides, and {sorted(missing)[:3]} is "
            "missing; use the adapter of a run on this very task"
        )
    for key, value in adapter.tensors.items():
        wanted = expected.tensors[key]
        if (value.shape, value.dtype) != (wanted.shape, wanted.dtype):
            raise ValueError(
                f"{what} does not fit the task: {'/'.join(key)} is {value.dtype} {tuple(value.shape)}, not "
                f"{wanted.dtype} {tuple(wanted.shape)}; use the adapter of a run with this rank on this very task"
            )
        if not torch.isfinite(value).all():
            raise ValueError(f"{what} is damaged: {'/'.join(key)} holds NaN or an infinity; restore it from a copy")


def check_still_finite(server: Adapter, t: int) -> None:
    """Stop before a round's record and state where the averaged parameters left the numbers; names no sample."""
    if not torch.stack([torch.isfinite(value).all() for value in server.tensors.values()]).all():
        raise ValueError(
            f"round {t} left parameters that are not finite; a run does not go on from there; what earlier rounds left "
            "stands; lower learning_rate, head_learning_rate or weight_decay"
        )
