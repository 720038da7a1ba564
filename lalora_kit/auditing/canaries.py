"""Canaries: virtual clients for an audit, and the attacker who looks for them in what is released.

A canary is one sample with a feature of its own; in its place others hold a blank whose gradient is exactly zero,
which is the neighbour that ε speaks of.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from lalora_kit.engine.adapters import Adapter, Key, stack
from lalora_kit.engine.persample import Engine
from lalora_kit.methods import Method
from lalora_kit.plan import Plan
from lalora_kit.privacy import clipped_sum
from lalora_kit.privacy.budgets import clip_of
from lalora_kit.tasks import Split, Task
from lalora_kit.tasks.partition import Shards

FEATURES, CLASSES, HELD = 8, 2, 8  # inputs (and width), labels, samples a client
LENGTH = 10.0  # of the canary: its gradient is several times C, so that it is clipped to C and no shorter


def ordinary_task(clients: int, generator: np.random.Generator) -> Task:
    """Ordinary samples on a linear backbone, none of which touches feature 0; the canary's column is free.

    No layer has a bias, so that a sample of zeros has a gradient of exactly zero.
    """
    samples = clients * HELD
    points = torch.from_numpy(generator.standard_normal((samples, FEATURES)) / FEATURES**0.5).float()
    points[:, 0] = 0
    body, head = nn.Linear(FEATURES, FEATURES, bias=False), nn.Linear(FEATURES, CLASSES, bias=False)
    with torch.no_grad():
        body.weight.copy_(torch.eye(FEATURES))
        head.weight.copy_(torch.from_numpy(generator.standard_normal((CLASSES, FEATURES)) / FEATURES**0.5))
        head.weight[:, 0] = 0  # the head has no opinion on the canary, or a lucky draw could leave it no gradient
    data = Split({"input": points}, (points[:, 1] > 0).long())
    return Task(
        name="canaries",
        backbone=nn.Sequential(OrderedDict(body=body, head=head)),
        targets=("body",),
        head="head",
        train=data,
        test=data.select(torch.arange(min(samples, 64))),
        classes=tuple(map(str, range(CLASSES))),
        description="virtual clients; half of them hold a canary",
    )


def canary() -> Split:
    """One sample, alone in feature 0: a row of A's gradient and a column of the head's are its own."""
    return Split({"input": LENGTH * torch.eye(FEATURES)[:1]}, torch.zeros(1, dtype=torch.long))


def with_canaries(task: Task, shards: Shards, held: np.ndarray) -> Task:
    """The task in which each client's first sample is a canary where `held` `(clients,)`, and a blank elsewhere."""
    first, holds = torch.tensor([int(shard[0]) for shard in shards]), torch.from_numpy(held)
    points, labels, one = task.train.inputs["input"].clone(), task.train.labels.clone(), canary()
    points[first] = torch.where(holds[:, None], one.inputs["input"], 0.0)
    labels[first] = one.labels
    return replace(task, train=Split({"input": points}, labels))


class Server:
    """The attacker: sums, client by client, the log likelihood ratio of what was released with and without canary.

    It knows what a server knows: the model it sent, the plan (σ, C, q, divisors), and what the canary looks like. Where
    clients and server exchange within a round, it goes by the model that the round before left.
    """

    def __init__(self, method: Method, plan: Plan, engine: Engine) -> None:
        self.method, self.plan, self.engine = method, plan, engine
        self.scores = np.zeros(len(plan.shards))
        self.heard = 0
        self.first = set(method.segments(plan.local_steps)[0])
        self.broadcast(plan.start)

    def broadcast(self, model: Adapter, t: int = 1) -> None:
        """The model from which the clients start round t."""
        opened = self.method.opens(model, t, self.plan.streams.generator("opens", 0, t))
        self.models = {True: stack(opened, 1), False: stack(model, 1)}
        self._signals: dict[tuple[bool, tuple[Key, ...]], Tensor] = {}

    def observe(self, client: int, t: int, k: int, release: Tensor) -> None:
        """Hear one noised release `(d,)`: `federated_rounds`' observer."""
        plan, q = self.plan, self.plan.rates[client]
        first = k in self.first
        signal = self.signal(tuple(self.models[first].keys(self.method.trains(t, k))), first)
        # Release times divisor is N(0, σ²C²) around the others' sum, moved by `signal` with probability q.
        shift = float(release.double() @ signal) * plan.divisor(client) - float(signal @ signal) / 2
        ratio = shift / (plan.sigmas[client] * plan.clip_norm) ** 2
        self.scores[client] += np.logaddexp(np.log1p(-q) if q < 1 else -np.inf, np.log(q) + ratio)
        self.heard += 1

    def signal(self, active: tuple[Key, ...], first: bool = True) -> Tensor:
        """The canary's clipped gradient `(d,)` at the model that was sent, over the tensors that train."""
        model = self.models[first]
        if (first, active) not in self._signals:
            one, chart = canary(), self.method.chart and self.method.chart(model, active)
            [(part, gradients)] = self.engine.gradients(
                model, active, one.inputs, one.labels, torch.zeros(1, dtype=torch.long)
            )
            if chart is not None:
                gradients = chart.to(active, gradients, part)
            clip = clip_of(self.plan.clip_norm, self.plan.clip_head_share, active)
            self._signals[first, active] = clipped_sum(gradients, part, 1, clip)[0][0].cpu()
        return self._signals[first, active]
