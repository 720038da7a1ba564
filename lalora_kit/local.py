"""A client's side: one private local step of all participants at once, and the optimisers that apply it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.engine.memory import copies_cost
from lalora_kit.engine.persample import Engine
from lalora_kit.methods import Method
from lalora_kit.methods.projection import projected
from lalora_kit.plan import Plan
from lalora_kit.privacy import clipped_sum, gaussian, poisson_draw, summed_by_unit
from lalora_kit.privacy.byclient import clipped_by_client
from lalora_kit.records import Teaching
from lalora_kit.settings import Settings
from lalora_kit.tasks import Split
from lalora_kit.tasks.padding import by_length

Observer = Callable[[int, int, int, Tensor], None]


@dataclass(frozen=True, eq=False)
class Step:
    """A local step's noised gradients `(clients, ...)` by key, and what only a lesson may see."""

    gradients: Mapping[Key, Tensor]
    teaching: Teaching


def private_step(
    plan: Plan,
    engine: Engine,
    data: Split,
    local: Adapter,
    active: Sequence[Key],
    t: int,
    k: int,
    observe: Observer | None = None,
) -> Step:
    """Draw, clip each unit, sum, add noise, divide by a constant: for every participant, in one pass.

    A unit is a sample, or where the task says so a person, all of whose samples are drawn and clipped as one. An
    empty draw still gets noise and is still released: leaving it out would tell that it was empty.
    """
    clients = plan.schedule[t - 1]
    draws = [draw(plan, c, t, k) for c in clients]
    batch = data.select(torch.cat([samples for samples, _ in draws]).to(data.labels.device))
    owner = torch.repeat_interleave(torch.arange(len(clients)), torch.tensor([len(units) for _, units in draws]))
    if data.units is None:  # a person's samples must stay side by side
        order = by_length(batch.inputs)
        batch, owner = batch.select(order), owner[order.cpu()]
    chunks = engine.gradients(local, active, batch.inputs, batch.labels, owner)
    if data.units is not None:
        chunks = summed_by_unit(chunks, torch.cat([units for _, units in draws]))
    width = sum(local.tensors[key][0].numel() for key in active)
    sums = torch.zeros(len(clients), width, dtype=torch.float64, device=engine.device)
    norms = [torch.empty(0, dtype=torch.float64, device=engine.device)]
    parts: Iterator[tuple[Tensor, Tensor]]
    parts = (clipped_sum(gradients, part, len(clients), plan.clip_norm) for part, gradients in chunks)
    if data.units is None and copies_cost(plan.start):
        parts = clipped_by_client(engine, local, active, batch.inputs, batch.labels, owner, plan.clip_norm)
    for part_sums, part_norms in parts:
        sums += part_sums
        norms.append(part_norms)

    scales = [plan.sigmas[c] * plan.clip_norm if plan.sigmas[c] else 0.0 for c in clients]
    noise = torch.stack(
        [
            gaussian(width, scale, plan.streams.generator("noise", c, t, k))
            for c, scale in zip(clients, scales, strict=True)
        ]
    )
    divisors = torch.tensor([plan.divisor(c) for c in clients], dtype=torch.float64, device=sums.device)
    release = (sums + noise.to(sums.device)) / divisors[:, None]
    if observe is not None:
        for row, client in enumerate(clients):
            observe(client, t, k, release[row].clone())
    return Step(split_by_key(release, active, local), lesson(sums, torch.cat(norms), scales, plan.clip_norm))


def draw(plan: Plan, client: int, t: int, k: int) -> tuple[Tensor, Tensor]:
    """The samples `(k,)` of the units that a client draws in a local step, and each one's unit, units side by side."""
    units = torch.from_numpy(plan.units[client])
    generator = plan.streams.generator("sampling", client, t, k)
    drawn = torch.zeros(plan.size(client), dtype=torch.bool)
    drawn[poisson_draw(len(drawn), plan.rates[client], generator)] = True
    mine = drawn[units].nonzero()[:, 0]
    mine = mine[units[mine].argsort(stable=True)]
    return torch.from_numpy(plan.shards[client])[mine], units[mine]


def split_by_key(release: Tensor, active: Sequence[Key], local: Adapter) -> dict[Key, Tensor]:
    """`(clients, d)` -> one `(clients, ...)` tensor an active key, in the factors' own precision."""
    widths = [local.tensors[key][0].numel() for key in active]
    parts = release.split(widths, dim=1)
    return {
        key: part.reshape(local.tensors[key].shape).to(local.tensors[key].dtype)
        for key, part in zip(active, parts, strict=True)
    }


def lesson(sums: Tensor, norms: Tensor, scales: Sequence[float], clip_norm: float) -> Teaching:
    """What the guarantee does not cover, for a lesson: see `records.Teaching`."""
    clipped = float((norms > clip_norm).double().mean()) if len(norms) else math.nan
    signal = float(sums.norm(dim=1).mean())
    noise = sum(scales) / len(scales) * math.sqrt(sums.shape[1])
    return Teaching(clipped, signal / noise if noise else math.inf, len(norms) / len(scales))


def mean_teaching(steps: Sequence[Step]) -> Teaching:
    """The mean of a round's steps; a step in which nobody drew a sample has no clip fraction."""
    lessons = [step.teaching for step in steps]
    fractions = [lesson.clip_fraction for lesson in lessons if not math.isnan(lesson.clip_fraction)]
    return Teaching(
        sum(fractions) / len(fractions) if fractions else math.nan,
        sum(lesson.signal_to_noise for lesson in lessons) / len(lessons),
        sum(lesson.batch for lesson in lessons) / len(lessons),
    )


def mean_norms(steps: Sequence[Step]) -> dict[str, float]:
    """L2 norm of the noised gradient of "A", "B" and "head", mean over clients and the steps that trained it."""
    norms: dict[str, list[float]] = {}
    for step in steps:
        for kind in sorted({kind for kind, _ in step.gradients}):
            parts = [value.flatten(1) for (k, _), value in step.gradients.items() if k == kind]
            norms.setdefault(kind, []).append(float(torch.cat(parts, dim=1).norm(dim=1).mean()))
    return {kind: sum(values) / len(values) for kind, values in norms.items()}


class Optimisers:
    """The clients' optimisers for one round, over the stack of their tensors; state starts fresh each round.

    torch's own SGD or AdamW: elementwise, so that a stack of clients is as good as one optimiser each. A tensor
    without a gradient is skipped by them whole: neither decayed nor counted, as an inactive factor must be.
    """

    def __init__(self, local: Adapter, settings: Settings, t: int) -> None:
        self.local, self.precondition = local, settings.precondition
        decay = settings.lr_decay ** (t - 1)
        rates = {"head": settings.head_learning_rate * decay}
        groups = [
            {"params": [value], "lr": rates.get(kind, settings.learning_rate * decay)}
            for (kind, _), value in local.tensors.items()
        ]
        family = torch.optim.SGD if settings.optimizer == "sgd" else torch.optim.AdamW
        self.optimiser = family(groups, weight_decay=settings.weight_decay)

    def apply(self, gradients: Mapping[Key, Tensor], method: Method) -> None:
        """Post-process the noised gradients as the method asks, and move the tensors that have one."""
        for key, value in self.local.tensors.items():
            value.grad = self._processed(key, gradients[key], method) if key in gradients else None
        self.optimiser.step()

    def _processed(self, key: Key, gradient: Tensor, method: Method) -> Tensor:
        kind, name = key
        if kind == "head":
            return gradient
        if self.precondition is not None:
            other = self.local.tensors["B" if kind == "A" else "A", name]
            gradient = projected(gradient, kind, other, self.local.scale, self.precondition)
        return method.smooth(gradient, kind)
