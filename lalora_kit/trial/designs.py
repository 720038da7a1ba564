"""Designs: what a trial on a task is made of: settings that nothing moves, rates to choose from, seeds, axes.

Below them: what the tuning seeds choose. An arm is a method or a control, or one with a factor on the adapter's rate.

    design_of("mnist").usual.clients

A side's rates are chosen on `tuning_seeds`; what is told is of `seeds`, which chose nothing. A task of one's own takes
the rates of `digits`. Nothing is run here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from lalora_kit.runs.usual import DEFAULT_TASK, settings_for
from lalora_kit.runs.yardsticks import HEAD_ONLY
from lalora_kit.settings import Settings
from lalora_kit.trial.claims import Claim, Line
from lalora_kit.trial.study import Cell, find

Grid = Sequence[float]
Runs = Mapping[Cell, Line]
Rates = tuple[float, float]
Moved = Mapping[str, Any]  # settings of a claim that are not the usual ones
RATE = "learning_rate"


@dataclass(frozen=True)
class Design:
    """What a trial on `task` is made of.

    rates: of the adapter, to choose from; one grid for every method.
    head_rates: of the head, to choose from; one grid for baselines and adapters.
    tuning_seeds, seeds: those that choose, and those that are told.
    more: seeds that are told beside these, of the claims that these leave undecided.
    axes, drawn: what the lessons' grid moves, one setting at a time, and its seeds.
    head_first: whether all sides of a claim, at best, take the head's rate that is best for head-only; else the usual.
    """

    task: str
    rates: Grid
    head_rates: Grid
    tuning_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    axes: Mapping[str, tuple[float, ...]]
    drawn: tuple[int, ...]
    head_first: bool = False
    more: tuple[int, ...] = ()

    @property
    def looks(self) -> int:
        """How often a claim may be looked at, which the level of every interval allows for."""
        return 2 if self.more else 1

    @cached_property
    def usual(self) -> Settings:
        """The task's usual settings, where every run stands but for what it varies."""
        return settings_for(self.task)

    def run(self, method: str, rate: float, epsilon: float, seed: int, **moved: Any) -> Cell:
        """A run at the usual rank, clients and head's rate, unless they are `moved`."""
        usual = self.usual
        stands = {"rank": usual.rank, "clients": usual.clients, "head_learning_rate": usual.head_learning_rate}
        return Cell(method, rate, epsilon, seed=seed, **{**stands, **moved})


DIGITS = Design(
    task="digits",
    rates=(0.125, 0.25, 0.5, 1.0, 2.0),
    head_rates=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    tuning_seeds=(5, 6, 7),
    seeds=(0, 1, 2, 3, 4),
    axes={
        RATE: (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
        "epsilon": (1.0, 3.0, 8.0, math.inf),
        "rank": (1, 4, 16),
        "clients": (2, 8, 32),
    },
    drawn=(0, 1, 2, 3, 4),
)
#: Where the head makes up most of a clipped gradient, an adapter bears far larger rates; the grid reaches from where
#: nothing is lost any more to where methods break down.
STDLIB_DOCS = replace(DIGITS, task="stdlib-docs", rates=(0.125, 0.5, 2.0, 4.0, 8.0))
MNIST = Design(
    task="mnist",
    rates=(1.0, 2.0, 4.0, 8.0, 16.0),
    head_rates=(1.0, 2.0, 4.0, 8.0, 16.0),
    tuning_seeds=(10, 11, 12),
    seeds=tuple(range(10)),
    axes={
        RATE: (1.0, 2.0, 4.0, 8.0, 16.0),
        "epsilon": (1.0, 3.0, 8.0, math.inf),
        "rank": (1, 4, 16),
        "clients": (2, 4, 16),
    },
    drawn=(0, 1, 2, 3, 4),
    head_first=True,
    more=tuple(range(13, 23)),
)
DESIGNS = (MNIST, STDLIB_DOCS, DIGITS)


def design_of(task: str) -> Design:
    """The design of a task, or of another split or view of its data; by name, with the rates of `digits` if unknown.

    >>> design_of("stdlib-docs-by-module").rates == STDLIB_DOCS.rates, design_of("cifar100").rates == DIGITS.rates
    (True, True)
    """
    return replace(next((one for one in DESIGNS if task.startswith(one.task)), DIGITS), task=task)


LESSONS = design_of(DEFAULT_TASK)


def base(arm: str) -> tuple[str, float]:
    """Method and factor on the adapter's rate of an arm: `dp-lora × 0.5` -> ("dp-lora", 0.5)."""
    method, times, factor = arm.partition(" × ")
    return method, float(factor) if times else 1.0


def has_rate(arm: str) -> bool:
    """Whether the adapter's rate acts on an arm; without an adapter there is nothing to act on."""
    return bool(find(base(arm)[0]).trained_in(1, LESSONS.usual.local_steps))


def run_of(arm: str, rate: float, epsilon: float, seed: int, design: Design = LESSONS, **moved: Any) -> Cell:
    """The run of an arm: the factor of a control is on the rate; `moved` are settings that are not the usual ones."""
    method, factor = base(arm)
    rate = round(rate * factor, 9) if has_rate(arm) else design.usual.learning_rate
    return design.run(method, rate, epsilon, seed, **moved)


def at_best(arm: str) -> str:
    """The arm whose rate is tuned: a control that is a smaller step is then the method itself."""
    return base(arm)[0]


def mean_end(runs: Runs, cells: Sequence[Cell]) -> float:
    """Mean final accuracy; NaN if a run is missing."""
    return statistics.fmean(runs[cell]["curve"][-1] if cell in runs else math.nan for cell in cells)


def head_runs(epsilon: float, design: Design, moved: Moved) -> dict[float, list[Cell]]:
    """The runs that choose the head's rate of all sides, by rate; none where it is the usual one."""
    rates = design.head_rates if design.head_first else ()
    usual = design.usual.learning_rate
    return {
        rate: [
            run_of(HEAD_ONLY, usual, epsilon, seed, design, **moved, head_learning_rate=rate)
            for seed in design.tuning_seeds
        ]
        for rate in rates
    }


def head_rate(runs: Runs, epsilon: float, design: Design, moved: Moved) -> float:
    """The head's rate at best, one for all sides; NaN if a run that chooses it is missing."""
    if not design.head_first:
        return design.usual.head_learning_rate
    return top({rate: mean_end(runs, cells) for rate, cells in head_runs(epsilon, design, moved).items()})


def top(means: Mapping[float, float]) -> float:
    """The rate with the highest mean; NaN if one is missing."""
    return math.nan if any(map(math.isnan, means.values())) else max(means, key=lambda rate: means[rate])


def tuned(runs: Runs, arm: str, epsilon: float, design: Design, moved: Moved = MappingProxyType({})) -> float:
    """The rate that is best for an arm on the tuning seeds, by mean final accuracy; NaN if a run is missing.

    `moved`: as for `run_of`, the head's rate among them.
    """
    own = at_best(arm)
    cells = {
        rate: [run_of(own, rate, epsilon, seed, design, **moved) for seed in design.tuning_seeds]
        for rate in design.rates
    }
    return top({rate: mean_end(runs, own) for rate, own in cells.items()})


@dataclass(frozen=True)
class Chosen:
    """The adapters' rates at best, of either side, and the head's, by ε."""

    rates: Mapping[float, Rates]
    heads: Mapping[float, float]


def chosen(runs: Runs, claim: Claim, design: Design) -> Chosen:
    """What the tuning seeds choose for a claim."""
    heads = {e: head_rate(runs, e, design, claim.moved) for e in claim.epsilons}
    rates = {}
    for e, head in heads.items():
        moved = {**claim.moved, "head_learning_rate": head}
        rates[e] = (tuned(runs, claim.one, e, design, moved), tuned(runs, claim.other, e, design, moved))
    return Chosen(rates, heads)
