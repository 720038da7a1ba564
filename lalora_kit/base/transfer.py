"""Transfer: many small tensors between host and device in one copy, for each copy makes the one wait for the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def to_device(values: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Host tensors of one type on a device, in one copy; from pinned memory to CUDA, so that the host does not wait."""
    flat = torch.cat([value.flatten() for value in values])
    flat = (flat.pin_memory() if device.type == "cuda" else flat).to(device, non_blocking=True)
    parts = flat.split([value.numel() for value in values])
    return [part.view(value.shape) for part, value in zip(parts, values, strict=True)]


def to_host(values: Sequence[Tensor]) -> list[Tensor]:
    """Copies on the CPU, of the same types, each with memory of its own; one wait for the device."""
    flat = torch.cat([value.detach().flatten() for value in values]).cpu()
    parts = flat.split([value.numel() for value in values])
    return [part.view(value.shape).to(value.dtype, copy=True) for part, value in zip(parts, values, strict=True)]


def numbers(values: Sequence[Mapping[str, Tensor]]) -> dict[str, list[float]]:
    """Single numbers by name, in the order in which they come; one wait for the device."""
    brought = iter(torch.stack([value.double() for one in values for value in one.values()]).tolist())
    found: dict[str, list[float]] = {}
    for one in values:
        for name in one:
            found.setdefault(name, []).append(next(brought))
    return found
