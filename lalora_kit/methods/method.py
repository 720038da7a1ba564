"""What a method is: a frozen value made of named functions, so that it prints, compares and pickles.

The loop asks it three things: which factors train at a local step, what happens to a gradient after the noise
(post-processing only, so it costs no privacy), and how the server combines the clients. The head trains at every
step of every method, inside the same clipped vector. What else a method may want to say has a hook with a default that
does nothing (`lalora_kit.methods.hooks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, average
from lalora_kit.methods.hooks import (
    HOOKS,
    About,
    Begins,
    Between,
    ChartOf,
    Crosses,
    Exchanges,
    Opens,
    Perturbs,
    Reads,
    Sends,
    Traffic,
    all_that_trained,
    as_drawn,
    as_it_is,
    as_sent,
    as_they_are,
    as_they_stand,
    begun_anew,
    only_at_the_end,
)  # fmt: skip
from lalora_kit.tasks import Task
from lalora_kit.tasks.online import first_line

Trains = Callable[[int, int], frozenset[str]]
Smooth = Callable[[Tensor, str], Tensor]
Aggregate = Callable[[Adapter, Sequence[Adapter], Sequence[float], frozenset[str]], Adapter]

NONE: frozenset[str] = frozenset()
A: frozenset[str] = frozenset({"A"})
B: frozenset[str] = frozenset({"B"})
BOTH: frozenset[str] = A | B


def unchanged(gradient: Tensor, factor: str) -> Tensor:
    """No post-processing: the noised gradient as it is."""
    return gradient


@dataclass(frozen=True)
class Method:
    """A federated LoRA method.

    Attributes:
        name: as on the command line and in `METHODS`.
        paper: where it comes from.
        trains: `(round, local_step) -> {"A", "B"} subset`, both counted from 1.
        smooth: `(noised gradient (clients, ...), "A" or "B") -> same shape`; linear, never sees raw data.
        aggregate: `(broadcast, clients, weights, trained) -> Adapter`; must not change its inputs.
        least_local_steps: below this some factor would never train.
        begins: `(adapter as drawn, frozen backbone, generator) -> Adapter`, once, before the first round.
        opens: `(server's adapter, round, generator) -> Adapter`, what the server sends at the start of a round.
        between: `(stack of clients, their numbers, round, step)`, in place, before each step and before an upload.
        exchanges: `(local_steps) -> steps` after which clients send and the server answers; the last one is always in.
        chart: `(stack, active keys) -> Chart`, coordinates in which gradients are clipped and noised; None: their own.
        perturbs: `(stack, round's start, settings, round, step, generator) -> stack` that gradients are taken at.
        sends: `(adapter, trained) -> int`, numbers that a client uploads in an exchange.
        stays: kinds of tensors ("B", "head") that stay with each client, and that no server ever has.
        reads: `(tensors by key) -> same`: the "A", "B", "head" and "W" that layers compute with, made of what trains.
            Differentiable; in training each own tensor has a leading axis of samples. Beside the factors and the head
            a client may train tensors of the kind "extra", which `begins` adds.
        crosses: `(first adapter of a task, last one of the task before) -> first adapter`; see `wrappers.after`.
        optimizers: those that it can be run with.
        traffic: `(adapter as drawn, clients) -> (up, down)`, numbers that a client sends and receives a round, their
            mean; None: up as `sends` says, and as many down. No part of what it is.
        about: what it does, in words; no part of what it is.
        source: for one that came from `file.py:NAME`, its file, name and sha256; else empty. No part of what it is.
    """

    name: str
    paper: str
    trains: Trains
    smooth: Smooth = unchanged
    aggregate: Aggregate = average
    least_local_steps: int = 1
    begins: Begins = as_drawn
    opens: Opens = as_sent
    between: Between = as_it_is
    exchanges: Exchanges = only_at_the_end
    chart: ChartOf | None = None
    perturbs: Perturbs = as_they_are
    sends: Sends = all_that_trained
    stays: tuple[str, ...] = ()
    reads: Reads = as_they_stand
    crosses: Crosses = begun_anew
    optimizers: tuple[str, ...] = ("sgd", "adamw")
    traffic: Traffic | None = field(default=None, compare=False, repr=False)
    about: About = field(default=About(), compare=False, repr=False)
    source: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def trained_in(self, round: int, local_steps: int) -> frozenset[str]:
        """Factors that move in a round: what a client uploads beside the head."""
        return self.factors(round, range(1, local_steps + 1))

    def factors(self, round: int, steps: range) -> frozenset[str]:
        """Factors that move in these local steps of a round."""
        return frozenset().union(*(self.trains(round, step) for step in steps))

    def segments(self, local_steps: int) -> list[range]:
        """The local steps before each exchange of a round."""
        ends = [0, *sorted(self.exchanges(local_steps))]
        return [range(first + 1, last + 1) for first, last in pairwise(ends)]

    def hooked(self) -> dict[str, object]:
        """What it says beyond the three questions: hooks that are not at their default, by name."""
        return {name: getattr(self, name) for name, default in HOOKS.items() if getattr(self, name) != default}

    def check(self, local_steps: int, optimizer: str = "sgd") -> None:
        """Raise `ValueError` if a round is too short for the method's schedule, or the optimizer does not suit it."""
        if optimizer not in self.optimizers:
            raise ValueError(
                f"optimizer={optimizer!r} does not go with {self.name}, which turns what it trains between steps or "
                "holds it to a subspace: moments of single entries would be of another basis, or leave it; use "
                f"optimizer={self.optimizers[0]!r}"
            )
        if local_steps < self.least_local_steps:
            raise ValueError(
                f"local_steps={local_steps} is too few for {self.name}: its schedule restarts each round and needs "
                f"{self.least_local_steps} local steps to reach every factor, so one would never train; "
                f"use local_steps={self.least_local_steps} or more"
            )


def check_smooth(task: Task, method: Method, factors: frozenset[str], rank: int) -> None:
    """Refuse a method whose post-processing cannot take a factor of this task, or changes its shape."""
    for name in task.targets:
        m, n = task.backbone.get_submodule(name).weight.shape  # type: ignore[union-attr, misc]
        low = min(rank, m, n)  # type: ignore[call-overload] # a higher rank is refused elsewhere
        shapes: dict[str, tuple[int, ...]] = {"A": (1, low, n), "B": (1, m, low)}  # type: ignore[dict-item]
        for factor in sorted(factors & shapes.keys()):
            try:
                found = tuple(method.smooth(torch.ones(shapes[factor]), factor).shape)
            except Exception as error:
                raise ValueError(
                    f"{method.name} cannot post-process a gradient {shapes[factor]} of factor {factor} of layer "
                    f"{name!r} ({type(error).__name__}: {first_line(error)}); leave that layer out of targets, or mend "
                    "smooth"
                ) from error
            if found != shapes[factor]:
                raise ValueError(
                    f"{method.name} makes {found} of a gradient {shapes[factor]} of factor {factor} of layer {name!r}; "
                    "smooth must keep the shape"
                )
