"""Gradients of one adapter on one split, for the lessons: clean, or as a private step would see them.

Both come from the engine that trains, with every sample owned by one client; the diagnostics (coupling, sharpness)
take them as plain mappings `("A" | "B" | "head", name) -> tensor`. Clean ones are not private.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, Key, stack
from lalora_kit.engine.persample import Engine
from lalora_kit.local import split_by_key
from lalora_kit.privacy import clipped_sum, gaussian
from lalora_kit.privacy.budgets import clip_of
from lalora_kit.tasks import Split

Gradients = Mapping[Key, Tensor]


def one_layer(A: Tensor, B: Tensor, scale: float = 1.0) -> Adapter:
    """A single matrix as an adapter: W = W0 + s·B·A with A `(r, n)` and B `(m, r)`, its layer named "W", no head."""
    return Adapter({("A", "W"): A, ("B", "W"): B}, scale)


def mean_gradient(engine: Engine, adapter: Adapter, split: Split, factors: Sequence[str] = "AB") -> dict[Key, Tensor]:
    """Clean mean gradient of the cross-entropy over a split, of the named factors of each layer, in nats.

    In chunks of the engine's `max_samples`; summed in float64, on the CPU. Not private.

    Raises:
        ValueError: if the split is empty.
    """
    point, data = prepared(engine, adapter, split)
    active = [key for key in sorted(point.tensors) if key[0] in factors]
    owner = torch.zeros(len(data), dtype=torch.long)
    sums = [torch.zeros(point.tensors[key].shape, dtype=torch.float64) for key in active]
    for _, gradients in engine.gradients(stack(point, 1), active, data.inputs, data.labels, owner):
        for total, gradient in zip(sums, gradients, strict=True):
            total += gradient.double().sum(0).cpu()
    return {key: total / len(data) for key, total in zip(active, sums, strict=True)}


def noised_gradient(
    engine: Engine,
    adapter: Adapter,
    split: Split,
    *,
    clip_norm: float,
    noise_std: float,
    generator: np.random.Generator,
    factors: Sequence[str] = "AB",
    clip_head_share: float = 0.0,
) -> dict[Key, Tensor]:
    """Mean of the clipped gradients plus noise: what a private step sees, were its draw the whole split.

    Args:
        clip_norm: C, over all active tensors of a sample at once, the head's among them as in a real step.
        noise_std: τ = C·σ / L, per entry of the averaged gradient; L is the step's expected batch.
        generator: of the noise.
        factors: which factors are active; the head always is, and is in the result.
        clip_head_share: of C², what the head has for itself; see `Settings`.

    Raises:
        ValueError: if the split is empty.
    """
    point, data = prepared(engine, adapter, split)
    local, active = stack(point, 1), point.keys(factors)
    total = torch.zeros(1, point.size(factors), dtype=torch.float64)
    owner, clip = torch.zeros(len(data), dtype=torch.long), clip_of(clip_norm, clip_head_share, active)
    for part, gradients in engine.gradients(local, active, data.inputs, data.labels, owner):
        total += clipped_sum(gradients, part, 1, clip)[0].cpu()
    release = total / len(data) + gaussian(total.shape[1], noise_std, generator)
    return {key: value[0].double().cpu() for key, value in split_by_key(release, active, local).items()}


def step_gradients(engine: Engine, adapter: Adapter, split: Split, factors: Sequence[str] = "B") -> Tensor:
    """Each sample's gradient in a local step before its clip, `(samples, d)`: named factors and head. Not private.

    Raises:
        ValueError: if the split is empty.
    """
    point, data = prepared(engine, adapter, split)
    local, owner = stack(point, 1), torch.zeros(len(data), dtype=torch.long)
    chunks = engine.gradients(local, point.keys(factors), data.inputs, data.labels, owner)
    return torch.cat([torch.cat([g.flatten(1) for g in gradients], dim=1).cpu() for _, gradients in chunks])


def prepared(engine: Engine, adapter: Adapter, split: Split) -> tuple[Adapter, Split]:
    """Adapter and samples in the engine's own precision and on its device; refuses an empty split, or another s."""
    if not len(split):
        raise ValueError("split is empty: a mean over no samples is undefined; select at least one sample")
    scales = {layer.scale for layer in engine.lora.values()}
    if scales != {adapter.scale}:
        raise ValueError(
            f"scale={adapter.scale} of the adapter is not the engine's {sorted(scales)}: they would be different "
            "models; make the Engine with scale=adapter.scale"
        )
    dtype = next(engine.model.parameters()).dtype
    inputs = {name: value.to(dtype) if value.is_floating_point() else value for name, value in split.inputs.items()}
    point = adapter.map(lambda value: value.detach().to(engine.device, dtype))
    return point, Split(inputs, split.labels).to(engine.device)
