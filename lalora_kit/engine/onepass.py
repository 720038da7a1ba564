"""One forward and backward pass through the engine, watched: scores, gradients, and what went into each layer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.engine.persample import Engine
from lalora_kit.tasks import Inputs, Task
from lalora_kit.tasks.unsound import Unsound


@dataclass(frozen=True, eq=False)
class Way:
    """How a task is to be computed, and which factors train beside the head."""

    task: Task
    factors: frozenset[str]
    device: torch.device
    precision: str


@dataclass(frozen=True, eq=False)
class Pass:
    """Scores `(samples, classes)`, gradients by key, and what went into each layer that trains, call by call."""

    scores: Tensor
    gradients: Mapping[Key, Tensor | None]
    inputs: Sequence[tuple[str, Tensor]]


def exact_engine(way: Way, dtype: torch.dtype) -> Engine:
    """An engine that computes in `dtype`, whatever the inputs are kept in."""
    engine = Engine(way.task, 1.0, device=way.device, dtype=dtype)

    def widened(batch: Inputs) -> Inputs:
        batch = batch if way.task.prepare is None else way.task.prepare(batch)
        return {name: value.to(dtype) if value.is_floating_point() else value for name, value in batch.items()}

    engine.prepare = widened
    return engine


def random_adapter(way: Way, dtype: torch.dtype, generator: torch.Generator) -> Adapter:
    """Random factors of rank 1, B's too, for while B is zero A's gradient is; and the head, moved a little."""
    tensors: dict[Key, Tensor] = {}

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype) / math.sqrt(shape[-1])

    for name in way.task.targets:
        m, n = way.task.backbone.get_submodule(name).weight.shape  # type: ignore[union-attr, misc]
        tensors["A", name], tensors["B", name] = noise(1, n), noise(1, m).mT  # type: ignore[arg-type]
    for name, value in way.task.backbone.get_submodule(way.task.head).named_parameters():
        tensors["head", name] = value.detach().cpu().to(dtype) + 0.3 * noise(*value.shape)
    return Adapter({key: value.to(way.device) for key, value in tensors.items()}, 1.0)


def passed(
    way: Way,
    engine: Engine,
    tensors: Mapping[Key, Tensor],
    batch: Inputs,
    *,
    shared: bool = False,
    backward: bool = True,
) -> Pass:
    """One forward and backward pass of a fixed combination of the scores, which no saturated softmax can hide.

    `tensors` are one copy a sample, or, of a sample alone, `shared`: the plain path of W0·x + s·B·A·x.
    """
    leaves = {key: value.clone() for key, value in tensors.items()}
    active = [key for key in sorted(leaves) if key[0] in {*way.factors, "head"}]
    samples = len(next(iter(batch.values())))
    with watched(engine, samples) as inputs, torch.enable_grad():
        for key in active:
            leaves[key].requires_grad_()
        scores = engine.scores(leaves, batch)
        if scores.ndim != 2 or len(scores) != samples or scores.shape[1] < len(way.task.classes):
            raise Unsound(
                f"it gives scores of shape {tuple(scores.shape)} for {samples} samples and {len(way.task.classes)} "
                "classes; they must be (samples, classes)"
            )
        weights = torch.arange(scores.numel(), device=scores.device, dtype=scores.dtype).cos().view_as(scores)
        found: Sequence[Tensor | None] = [None] * len(active)
        if backward and scores.requires_grad:
            found = torch.autograd.grad((weights * scores).sum(), [leaves[key] for key in active], allow_unused=True)
    if shared:
        found = [None if value is None else value[None] for value in found]
    return Pass(scores.detach(), dict(zip(active, found, strict=True)), inputs)


@contextlib.contextmanager
def watched(engine: Engine, samples: int) -> Iterator[list[tuple[str, Tensor]]]:
    """Keeps what goes into each layer that trains; refuses what cannot be laid out sample by sample."""
    seen: list[tuple[str, Tensor]] = []

    def look(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        [x] = given
        if len(x) % samples:
            raise Unsound(
                f"the input of its layer {layer.place!r} is not laid out sample by sample: it is {tuple(x.shape)} for "
                f"{samples} samples; lay it out with the sample first, or leave that layer out of targets"
            )
        seen.append((str(layer.place), x.detach()))

    hooks = [layer.register_forward_pre_hook(look) for layer in (*engine.lora.values(), *engine.head.values())]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def near(left: Tensor, right: Tensor, tolerance: float) -> bool:
    """Whether ‖left − right‖ is at most `tolerance` times ‖right‖; never where a value is not finite."""
    return left.shape == right.shape and bool((left - right).norm() <= tolerance * right.norm())


def part_of(found: Pass, row: int) -> Pass:
    """What a pass says of one of its samples."""
    gradients = {key: None if value is None else value[row : row + 1] for key, value in found.gradients.items()}
    return Pass(found.scores[row : row + 1], gradients, found.inputs)


def same_scores(left: Pass, right: Pass, tolerance: float) -> bool:
    """Whether a sample got the same scores in both passes."""
    return near(left.scores, right.scores, tolerance)


def same(left: Pass, right: Pass, tolerance: float) -> bool:
    """Whether a sample got the same scores and, as a whole, the same gradient in both passes."""
    ours, theirs = (
        torch.cat([value.flatten() for value in found.gradients.values() if value is not None])
        for found in (left, right)
    )
    return same_scores(left, right, tolerance) and near(ours, theirs, tolerance)
