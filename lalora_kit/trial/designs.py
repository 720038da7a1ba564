"""Designs: what a trial on a task is made of: settings that nothing moves, rates to choose from, seeds, axes.

    design_of("mnist").usual.clients

A side's rates are chosen on `tuning_seeds`; what is told is of `seeds`, which chose nothing. A task of one's own takes
the rates of `digits`. Nothing is run here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from lalora_kit.runs.usual import DEFAULT_TASK, settings_for
from lalora_kit.settings import Settings
from lalora_kit.trial.study import Cell

Grid = Sequence[float]
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
    drawn=(0, 1, 2),
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
