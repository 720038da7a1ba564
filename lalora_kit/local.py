"""A client's side: one private local step of all participants at once, and the optimisers that apply it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lalora_kit.base import threefry
from lalora_kit.base.transfer import to_device
from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.engine.persample import Engine
from lalora_kit.methods import Method
from lalora_kit.methods.projection import projected
from lalora_kit.plan import Plan
from lalora_kit.privacy import clipped_sum, gaussian, gaussians, poisson_draw, summed_by_unit
from lalora_kit.privacy.mechanism import drawn_by, numbered
from lalora_kit.records import Teaching
from lalora_kit.settings import Settings
from lalora_kit.tasks import Split
from lalora_kit.tasks.feed import Feed

Observer = Callable[[int, int, int, Tensor], None]


@dataclass(frozen=True, eq=False)
class Step:
    """A local step's noised gradients `(clients, ...)` by key, and what `told` needs of it at the round's end."""

    gradients: Mapping[Key, Tensor]
    seen: Seen


@dataclass(frozen=True, eq=False)
class Seen:
    """Of one step: numbers that wait on the device, by name; the noise's expected norm; units a client drew."""

    values: Mapping[str, Tensor]
    noise: float
    batch: float


class Drawn(NamedTuple):
    """What the participants draw in one local step, in the order in which it is computed.

    `rows` `(samples,)` are places in the training split, `owner` `(samples,)` the participants' own places, `units`
    `(samples,)` the persons, `numbered` (empty where a sample is its own unit), `keys` `(clients, 2)` the noise's.
    """

    rows: Tensor
    owner: Tensor
    units: Tensor
    keys: Tensor


@dataclass(frozen=True, eq=False)
class Coming:
    """A local step that is ready: its batch on the device, and what was drawn, on the host and there."""

    batch: Split
    here: Drawn
    there: Drawn
    widths: Tensor | None


def coming(plan: Plan, feed: Feed, t: int, steps: Sequence[int]) -> Iterator[Coming]:
    """The local steps of a round, drawn together: one copy takes all draws to the device, and nothing comes back."""
    here = [drawn(plan, feed, t, k) for k in steps]
    fields = iter(to_device([value for one in here for value in one], feed.device))
    there = [Drawn(*values) for values in zip(*[fields] * len(Drawn._fields), strict=True)]
    batches = feed.batches([one.rows for one in here], [one.rows for one in there])
    for one, sent, batch in zip(here, there, batches, strict=True):
        yield Coming(batch, one, sent, None if feed.widths is None else feed.widths[one.rows])


def private_step(
    plan: Plan,
    engine: Engine,
    data: Split | Coming,
    local: Adapter,
    active: Sequence[Key],
    t: int,
    k: int,
    observe: Observer | None = None,
) -> Step:
    """Draw, clip each unit, sum, add noise, divide by a constant: for every participant, in one pass.

    A unit is a sample, or where the task says so a person, all of whose samples are drawn and clipped as one. An
    empty draw still gets noise and is still released: leaving it out would tell that it was empty. What was drawn
    already (`coming`) is taken as it is; of a split this one step is drawn.
    """
    if isinstance(data, Split):
        [data] = coming(plan, Feed(data, engine.device), t, [k])
    clients, there = plan.schedule[t - 1], data.there
    chunks = engine.gradients(local, active, data.batch.inputs, data.batch.labels, there.owner, data.widths)
    if len(there.units):
        chunks = summed_by_unit(chunks, data.here.units, there.units)
    width = sum(local.tensors[key][0].numel() for key in active)
    sums = torch.zeros(len(clients), width, dtype=torch.float64, device=engine.device)
    norms = [torch.empty(0, dtype=torch.float64, device=engine.device)]
    for part, gradients in chunks:
        part_sums, part_norms = clipped_sum(gradients, part, len(clients), plan.clip_norm)
        sums += part_sums
        norms.append(part_norms)

    scales = [plan.sigmas[c] * plan.clip_norm if plan.sigmas[c] else 0.0 for c in clients]
    release = noise(plan, there.keys, width, scales, t, k).add_(sums)
    for row, client in zip(release, clients, strict=True):
        row.div_(plan.divisor(client))
        if observe is not None:
            observe(client, t, k, row.clone())
    gradients = split_by_key(release, active, local)
    return Step(gradients, seen(gradients, sums, torch.cat(norms), scales, plan.clip_norm))


def noise(plan: Plan, keys: Tensor, width: int, scales: Sequence[float], t: int, k: int) -> Tensor:
    """`(clients, width)` of each participant's own noise of this step, drawn where the keys are."""
    if drawn_by(keys.device) == threefry.NAME:
        return gaussians(width, scales, keys)
    streams = [plan.streams.generator("noise", c, t, k) for c in plan.schedule[t - 1]]
    return torch.stack([gaussian(width, scale, own) for scale, own in zip(scales, streams, strict=True)])


def drawn(plan: Plan, feed: Feed, t: int, k: int) -> Drawn:
    """What all participants draw in a local step, on the host; a person's samples stay side by side."""
    clients = plan.schedule[t - 1]
    draws = [draw(plan, c, t, k) for c in clients]
    rows, units = (torch.cat(parts) for parts in zip(*draws, strict=True))
    owner = torch.repeat_interleave(torch.arange(len(clients)), torch.tensor([len(mine) for mine, _ in draws]))
    order = torch.arange(len(rows)) if feed.persons else feed.ordered(rows)
    keys = b"".join(plan.streams.key("noise", c, t, k) for c in clients)
    return Drawn(
        rows[order],
        owner[order],
        numbered(owner, units) if feed.persons else units[:0],
        torch.frombuffer(bytearray(keys), dtype=torch.int64).view(-1, 2),
    )


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


def seen(gradients: Mapping[Key, Tensor], sums: Tensor, norms: Tensor, scales: Sequence[float], C: float) -> Seen:
    """The noised gradients' norms by kind, and what the guarantee does not cover; no number leaves the device."""
    values = {"clipped": (norms > C).double().mean(), "signal": sums.norm(dim=1).mean()}
    for kind in sorted({kind for kind, _ in gradients}):
        parts = [value.flatten(1) for (k, _), value in gradients.items() if k == kind]
        values[kind] = torch.cat(parts, dim=1).norm(dim=1).mean().double()
    return Seen(values, sum(scales) / len(scales) * math.sqrt(sums.shape[1]), len(norms) / len(scales))


def told(steps: Sequence[Seen]) -> tuple[dict[str, float], Teaching]:
    """A round's means over its steps, brought over in one copy.

    The L2 norm of the noised gradient of "A", "B" and "head", over clients and the steps that trained it; and, for a
    lesson alone, see `records.Teaching`: a step in which nobody drew a sample has no clip fraction.
    """
    numbers = iter(torch.stack([value for step in steps for value in step.values.values()]).tolist())
    means: dict[str, list[float]] = {}
    for step in steps:
        for name in step.values:
            means.setdefault(name, []).append(next(numbers))
    fractions = [value for value in means.pop("clipped") if not math.isnan(value)]
    signals = [value / step.noise if step.noise else math.inf
               for value, step in zip(means.pop("signal"), steps, strict=True)]  # fmt: skip
    teaching = Teaching(
        sum(fractions) / len(fractions) if fractions else math.nan,
        sum(signals) / len(signals),
        sum(step.batch for step in steps) / len(steps),
    )
    return {kind: sum(values) / len(values) for kind, values in means.items()}, teaching


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
