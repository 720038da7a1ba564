"""Memory: how much is free, and how many samples' gradients fit into it at once.

A result does not depend on the chunk but for rounding. So that a run can be repeated bit for bit, the chunk is a power
of two that is chosen once, and a resume keeps it (`lalora_kit.plan`).
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lalora_kit.base.machine import available_memory

if TYPE_CHECKING:
    import torch

    from lalora_kit.engine.adapters import Adapter
    from lalora_kit.tasks import Task

SHARE = 0.5  # of the free memory that a chunk may take
EVALUATED = 512  # samples that are evaluated at once where nothing bounds them
#: What a step needs at its peak over what it keeps for its backward pass; measured by `tests.benchmarks.scale`.
PEAK = 2.0
MANY = 16  # samples that a client draws, from which on a CPU is faster without copies


def free_bytes(device: torch.device) -> int:
    """What is free on a device: its own memory on CUDA, the machine's elsewhere; -1 where that cannot be told."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_memory()


def chunk_for(task: Task, adapter: Adapter, device: torch.device, batches: Sequence[float]) -> int | None:
    """How many samples to take at once; None if the largest draw of a local step fits.

    Args:
        task: its backbone and inputs say what a sample keeps.
        adapter: one client's tensors, of which each sample gets a copy.
        device: whose memory counts.
        batches: the samples that each participant may expect to draw; six standard deviations more are never seen.
    """
    free = free_bytes(device)
    if free < 0:
        return None
    drawn = sum(batches) + 6 * math.sqrt(sum(batches))
    fits = int(SHARE * free / bytes_per_sample(task, adapter))
    if fits >= max(drawn, EVALUATED):
        return None
    return 1 << max(0, fits.bit_length() - 1)


_KEPT: weakref.WeakKeyDictionary[Task, int] = weakref.WeakKeyDictionary()


def bytes_per_sample(task: Task, adapter: Adapter) -> float:
    """Peak bytes of a sample in a private step: what the backward pass keeps, copies of the factors, gradients."""
    numbers = [value.numel() for value in adapter.own().values()]
    if task not in _KEPT:
        _KEPT[task] = kept_bytes(task, adapter)
    each = 4 if copies_cost(adapter) else 8
    # Of each tensor a gradient in float32, and a copy if it is made, and of one at a time its float64.
    return PEAK * _KEPT[task] + each * sum(numbers) + 8 * max(numbers)


def copies_cost(adapter: Adapter, drawn: float = 0, device: str = "cpu") -> bool:
    """Whether a copy of one client's `adapter` for each sample costs more than a product for each client.

    `drawn` is how many samples a client draws in a step, on average. Up to rank 16 and 2¹⁸ numbers (1 MB a sample) the
    two take about the same time, but on a CPU a product is ahead from `MANY` samples on (`tests.benchmarks.speed`).
    """
    rank = max((len(A) for A in adapter.of("A").values()), default=0)
    many = device == "cpu" and drawn >= MANY
    return many or rank > 16 or sum(value.numel() for value in adapter.own().values()) > 2**18


def kept_bytes(task: Task, adapter: Adapter) -> int:
    """What autograd keeps of the longest sample between forward and backward pass, the frozen weights left out."""
    import torch

    from lalora_kit.engine.adapters import stack
    from lalora_kit.engine.persample import Engine
    from lalora_kit.tasks.padding import by_length

    engine = Engine(task, adapter.scale)
    weights = {value.untyped_storage().data_ptr() for value in engine.model.parameters()}
    storages: dict[int, int] = {}

    def count(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return value

    one = stack(adapter, 1)
    one = one.with_tensors({key: value.clone().requires_grad_() for key, value in one.own().items()})
    batch = engine.batch(task.train.inputs, by_length(task.train.inputs)[-1:])
    with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value), torch.enable_grad():
        engine.scores(dict(one.tensors), batch).sum()
    return sum(storages.values())
