"""A client's side: one private local step of all participants at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lalora_kit.base import threefry
from lalora_kit.base.transfer import numbers
from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.engine.memory import copies_cost
from lalora_kit.engine.persample import Engine
from lalora_kit.methods.hooks import Chart, pooled
from lalora_kit.plan import Plan
from lalora_kit.privacy import clipped_sum, gaussian, poisson_draw, summed_by_unit
from lalora_kit.privacy.budgets import clip_of
from lalora_kit.privacy.byclient import clipped_by_client
from lalora_kit.privacy.mechanism import drawn_by
from lalora_kit.records import Teaching
from lalora_kit.tasks import Split
from lalora_kit.tasks.feed import Coming, Drawn, Feed, numbered

Observer = Callable[[int, int, int, Tensor], None]


@dataclass(frozen=True, eq=False)
class Step:
    """A local step's noised gradients `(clients, ...)` by key, and what `told` makes a round's means of.

    `values` are numbers that stay on the device; `noise` is the noise's expected norm, `batch` the units that a client
    drew.
    """

    gradients: Mapping[Key, Tensor]
    values: Mapping[str, Tensor]
    noise: float
    batch: float


def private_step(
    plan: Plan,
    engine: Engine,
    data: Split | Coming,
    local: Adapter,
    active: Sequence[Key],
    t: int,
    k: int,
    observe: Observer | None = None,
    chart: Chart | None = None,
) -> Step:
    """Draw, clip each unit, sum, add noise, divide by a constant: for every participant, in one pass.

    A unit is a sample, or where the task says so a person, all of whose samples are drawn and clipped as one. An
    empty draw still gets noise and is still released: leaving it out would tell that it was empty. What was drawn
    already (`Coming`) is taken as it is; of a split this one step is drawn. All of it is done in the `chart`, where a
    method has one.
    """
    if isinstance(data, Split):
        feed = Feed(data, engine.device)
        [data] = feed.coming([drawn(plan, feed, t, k)])
    clients, there = plan.schedule[t - 1], data.there
    clip = clip_of(plan.clip_norm, plan.clip_head_share, active)
    given = local, active, data.batch.inputs, data.batch.labels, there.owner
    width = sum(map(math.prod, shapes_of(active, local, chart)))
    sums = torch.zeros(len(clients), width, dtype=torch.float64, device=engine.device)
    norms = [torch.empty(0, dtype=torch.float64, device=engine.device)]
    one = local.map(lambda value: value[0])
    plain = chart is None and engine.reads is dict and not len(there.units)  # persons are added up sample by sample
    if plain and copies_cost(one, sum(map(plan.divisor, clients)) / len(clients), engine.device.type):
        parts = clipped_by_client(engine, *given, clip, *data.widths)
    else:
        chunks = engine.gradients(*given, *data.widths)
        if len(there.units):
            chunks = summed_by_unit(chunks, data.here.units, there.units)
        if chart is not None:
            chunks = ((part, chart.to(active, gradients, part)) for part, gradients in chunks)
        parts = (clipped_sum(gradients, part, len(clients), clip) for part, gradients in chunks)
    for part_sums, part_norms in parts:
        sums += part_sums
        norms.append(part_norms)

    scales = [plan.sigmas[c] * plan.clip_norm if plan.sigmas[c] else 0.0 for c in clients]
    release = noised(plan, sums, there.keys, scales, t, k)
    for row, client in zip(release, clients, strict=True):
        row.div_(plan.divisor(client))
        if observe is not None:
            observe(client, t, k, row.clone())
    found, lengths = split_by_key(release, active, local, chart), torch.cat(norms)
    clipped, signal = (lengths > plan.clip_norm).double().mean(), sums.norm(dim=1).mean()  # for a lesson alone
    values = {"clipped": clipped, "signal": signal, **update_norms(found)}
    return Step(found, values, sum(scales) / len(scales) * math.sqrt(width), len(lengths) / len(clients))


def noised(plan: Plan, sums: Tensor, keys: Tensor, scales: Sequence[float], t: int, k: int) -> Tensor:
    """Line 7 of the algorithm in lesson 04: each participant's sum `(clients, d)` with its own noise of this step."""
    if drawn_by(keys.device) == threefry.NAME:
        return threefry.normals(keys, sums.shape[1], scales).add_(sums)
    streams = [plan.streams.generator("noise", c, t, k) for c in plan.schedule[t - 1]]
    return torch.stack([gaussian(sums.shape[1], scale, own) for scale, own in zip(scales, streams, strict=True)]) + sums


def drawn(plan: Plan, feed: Feed, t: int, k: int) -> Drawn:
    """What all participants draw in a local step, on the host; a person's samples stay side by side."""
    clients = plan.schedule[t - 1]
    draws = [draw(plan, c, t, k) for c in clients]
    rows, units = (torch.cat(parts) for parts in zip(*draws, strict=True))
    owner = torch.repeat_interleave(torch.arange(len(clients)), torch.tensor([len(mine) for mine, _ in draws]))
    keys = bytearray().join(plan.streams.key("noise", c, t, k) for c in clients)
    order, units = feed.ordered(rows), numbered(owner, units) if feed.persons else units[:0]
    return Drawn(rows[order], owner[order], units, torch.frombuffer(keys, dtype=torch.int64).view(-1, 2))


def draw(plan: Plan, client: int, t: int, k: int) -> tuple[Tensor, Tensor]:
    """The samples `(k,)` of the units that a client draws in a local step, and each one's unit, units side by side."""
    units = torch.from_numpy(plan.units[client])
    generator = plan.streams.generator("sampling", client, t, k)
    drawn = torch.zeros(plan.size(client), dtype=torch.bool)
    drawn[poisson_draw(len(drawn), plan.rates[client], generator)] = True
    mine = drawn[units].nonzero()[:, 0]
    mine = mine[units[mine].argsort(stable=True)]
    return torch.from_numpy(plan.shards[client])[mine], units[mine]


def shapes_of(active: Sequence[Key], local: Adapter, chart: Chart | None) -> list[tuple[int, ...]]:
    """The shape of a client's gradient of each active tensor, in the chart where there is one."""
    return [tuple(local.tensors[key].shape[1:]) if chart is None else chart.shape(key, local) for key in active]


def split_by_key(
    release: Tensor, active: Sequence[Key], local: Adapter, chart: Chart | None = None
) -> dict[Key, Tensor]:
    """`(clients, d)` -> one `(clients, ...)` tensor an active key, out of the chart, in the factors' own precision."""
    shapes = shapes_of(active, local, chart)
    parts = release.split([math.prod(shape) for shape in shapes], dim=1)
    found = {key: part.unflatten(1, shape) for key, shape, part in zip(active, shapes, parts, strict=True)}
    found = found if chart is None else chart.back(found)
    return {key: value.to(local.tensors[key].dtype) for key, value in found.items()}


def update_norms(gradients: Mapping[Key, Tensor]) -> dict[str, Tensor]:
    """L2 norm of the noised gradient of "A", "B" and "head", mean over clients."""
    parts: dict[str, list[Tensor]] = {}
    for (kind, _), value in sorted(gradients.items()):
        parts.setdefault(kind, []).append(value.flatten(1))
    return {kind: torch.cat(values, dim=1).norm(dim=1).mean() for kind, values in parts.items()}


def told(steps: Sequence[Step]) -> tuple[dict[str, float], Teaching]:
    """A round's means, in one copy: `update_norms` of the steps that trained a kind, and what is for a lesson alone.

    A step in which nobody drew a sample has no clip fraction.
    """
    found = numbers([step.values for step in steps])
    fractions = [value for value in found.pop("clipped") if not math.isnan(value)]
    pairs = zip(found.pop("signal"), steps, strict=True)
    signals = [signal / step.noise if step.noise else math.inf for signal, step in pairs]
    teaching = Teaching(
        sum(fractions) / len(fractions) if fractions else math.nan,
        sum(signals) / len(signals),
        sum(step.batch for step in steps) / len(steps),
    )
    return {kind: sum(values) / len(values) for kind, values in found.items()}, teaching


class Uploads(NamedTuple):
    """What came back in an exchange: from whom, each one's adapter, and `told` of their steps."""

    clients: Sequence[int]
    adapters: Sequence[Adapter]
    norms: Mapping[str, float]
    teaching: Teaching | None = None


def whole(exchanges: Sequence[tuple[Uploads, int]]) -> Uploads:
    """A round's exchanges as one, each with its number of steps: the last one's adapters, and means over all steps."""
    sent, told_ = exchanges[-1][0], [(part.teaching, steps) for part, steps in exchanges]
    norms = pooled([(part.norms, steps) for part, steps in exchanges])
    teaching = sent.teaching and Teaching(**pooled([(vars(part), steps) for part, steps in told_]))
    return sent._replace(norms=norms, teaching=teaching)
