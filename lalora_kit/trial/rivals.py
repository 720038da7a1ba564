"""Rivals: what has no adapter, in the shipped grid: the head alone and linear models on the raw inputs, at their best.

    python -m lalora_kit.trial.grid --baselines           # the runs of these alone; a linear model's take a second

A rival has no rank and no adapter's rate, so its runs are by ε, clients and seed. Its one rate is the head's: chosen
for each ε and number of clients from its design's `head_rates`, on the seeds that choose every rate here, and reported
on others. What has no training (`untrained`, a public guess) is one number, written beside the runs.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lalora_kit.base.files import read_lines
from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.methods import Method
from lalora_kit.runs.standing import of_one_run
from lalora_kit.runs.yardsticks import HEAD_ONLY, UNTRAINED
from lalora_kit.tasks.heads.linear import HOG, LINEAR
from lalora_kit.trial.designs import LESSONS, Design, design_of
from lalora_kit.trial.grid import file_of, load
from lalora_kit.trial.study import Cell, ensure

LINEARS = (LINEAR, HOG)
TRAINED = (HEAD_ONLY, *LINEARS)
NAMES = (*TRAINED, UNTRAINED)
Curves = Mapping[Cell, Sequence[float]]
Place = tuple[float, int]  # ε, clients


@dataclass(frozen=True)
class Rival:
    """A baseline at one place: accuracy after each round, a curve a seed; `untrained` has one, that never moves.

    rate: of the head; NaN where nothing trains, as are ε and clients.
    chosen: whether the rate was chosen; else it is the usual one, and the label says so.
    """

    name: str
    epsilon: float
    clients: int
    rate: float
    curves: Sequence[Sequence[float]]
    chosen: bool = True

    @property
    def label(self) -> str:
        """Its name, and that its rate is the usual one, where no runs chose it."""
        return self.name if self.chosen else f"{self.name}, usual rate"

    @property
    def accuracy(self) -> float:
        """Mean over the seeds, after the last round."""
        return statistics.fmean(curve[-1] for curve in self.curves)

    @property
    def text(self) -> str:
        """`linear 83.1%`."""
        return f"{self.label} {self.accuracy:.1%}"


def bare_run(
    name: str, rate: float, epsilon: float, seed: int, design: Design = LESSONS, clients: int | None = None
) -> Cell:
    """The run of what has no adapter; the adapter's rate and rank are nothing to it, and stand as usual."""
    usual = design.usual
    return design.run(
        name, usual.learning_rate, epsilon, seed, clients=clients or usual.clients, head_learning_rate=rate
    )


def places(name: str, design: Design = LESSONS) -> list[Place]:
    """Where a rival is run: a linear model, which is cheap, at every ε and number of clients; the head along each."""
    every, usual = list(itertools.product(design.axes["epsilon"], map(int, design.axes["clients"]))), design.usual
    return [p for p in every if name in LINEARS or p[0] == usual.epsilon or p[1] == usual.clients]


def choosing(name: str, at: Iterable[Place], design: Design = LESSONS) -> list[Cell]:
    """The runs that choose a rival's rate at some places."""
    return [
        bare_run(name, rate, epsilon, seed, design, clients)
        for epsilon, clients in at for rate in design.head_rates for seed in design.tuning_seeds
    ]  # fmt: skip


def known(names: Iterable[str] = TRAINED, design: Design = LESSONS) -> set[Cell]:
    """Every run of a rival that the grid may hold: which rate is reported is a matter of the runs."""
    seeds = (*design.drawn, *design.tuning_seeds)
    return {
        bare_run(name, rate, epsilon, seed, design, clients)
        for name in names for epsilon, clients in places(name, design) for rate in design.head_rates for seed in seeds
    }  # fmt: skip


def fill(
    path: Path, made: dict[str, Any], names: Iterable[str], design: Design = LESSONS, *,
    seeds: Sequence[int] = (), workers: int | None = None,
) -> None:  # fmt: skip
    """Run what is missing of the rivals, ε by ε: first what chooses their rates, then `seeds`, the design's if none."""
    names, first = list(names), design.usual.epsilon
    for epsilon in sorted(design.axes["epsilon"], key=lambda e: (e != first, e)):
        at = [(name, place) for name in names for place in places(name, design) if place[0] == epsilon]
        ensure([cell for name, place in at for cell in choosing(name, [place], design)], made, path, workers)
        runs = load(path)
        best = [(name, best_rate(runs, name, e, n, design), e, n) for name, (e, n) in at]
        wanted = [
            bare_run(name, rate, e, seed, design, n) for seed in seeds or design.drawn for name, rate, e, n in best
        ]
        ensure(wanted, made, path, workers)


def chosen_on(runs: Curves, name: str, epsilon: float, clients: int, design: Design = LESSONS) -> dict[float, float]:
    """Mean final accuracy on the seeds that choose, by the head's rate; empty if one of these runs is missing."""
    found = {}
    for rate in design.head_rates:
        cells = [bare_run(name, rate, epsilon, seed, design, clients) for seed in design.tuning_seeds]
        if any(cell not in runs for cell in cells):
            return {}
        found[rate] = statistics.fmean(runs[cell][-1] for cell in cells)
    return found


def best_rate(runs: Curves, name: str, epsilon: float, clients: int, design: Design = LESSONS) -> float:
    """The head's rate that is best for a rival on the seeds that choose; NaN if a run is missing."""
    found = chosen_on(runs, name, epsilon, clients, design)
    return max(found, key=lambda rate: found[rate], default=math.nan)


def rival(runs: Curves, name: str, epsilon: float, clients: int, design: Design = LESSONS) -> Rival | None:
    """A rival over the reported seeds, at its best rate or, where none was chosen, the usual; None without runs."""
    rate = best_rate(runs, name, epsilon, clients, design)
    chosen = math.isfinite(rate)
    rate = rate if chosen else design.usual.head_learning_rate
    cells = [bare_run(name, rate, epsilon, seed, design, clients) for seed in design.drawn]
    curves = [runs[cell] for cell in cells if cell in runs]
    return Rival(name, epsilon, clients, rate, curves, chosen) if curves else None


def rivals(
    runs: Curves, epsilon: float, clients: int, guess: float = math.nan, design: Design = LESSONS
) -> list[Rival]:
    """All that there are at one place: the head alone, the stronger linear model (on other seeds), the public guess."""
    tops = {n: max(chosen_on(runs, n, epsilon, clients, design).values(), default=-1.0) for n in LINEARS}
    stronger = max(LINEARS, key=lambda name: tops[name])
    found = [rival(runs, name, epsilon, clients, design) for name in (HEAD_ONLY, stronger)]
    return [one for one in found if one is not None] + untrained(guess, design)


def untrained(guess: float, design: Design = LESSONS) -> list[Rival]:
    """What public knowledge alone reaches, if the task has such a guess."""
    flat = [[guess] * design.usual.rounds]
    return [Rival(UNTRAINED, math.nan, 0, math.nan, flat)] if math.isfinite(guess) else []


def guess_in(path: Path) -> float:
    """Accuracy of the public guess, as it stands beside the runs; NaN where the task has none."""
    heads = [line for line in read_lines(path) if "curve" not in line] if path.exists() else []
    found = heads[-1].get(UNTRAINED) if heads else None
    return math.nan if found is None else float(found)


@lru_cache(maxsize=4)
def shipped(task: str) -> tuple[Curves, float]:
    """The runs that ship for a task, and its guess; nothing for a task without."""
    path = file_of(task)
    return (load(path), guess_in(path)) if path.exists() else ({}, math.nan)


@lru_cache(maxsize=256)
def nearest(task: str, epsilon: float, clients: int) -> Sequence[Rival]:
    """The shipped rivals at the place that is nearest on logarithmic axes; an infinite ε has none but its own."""
    (runs, guess), design = shipped(task), design_of(task)
    there = {place for name in TRAINED for place in places(name, design) if rival(runs, name, *place, design)}
    near = [place for place in there if math.isinf(place[0]) == math.isinf(epsilon)]
    if not near:
        return untrained(guess, design)

    def distance(place: Place) -> tuple[float, int, int]:
        ratio = 0.0 if math.isinf(epsilon) else abs(math.log(place[0] / epsilon))
        heads = not rival(runs, HEAD_ONLY, *place, design)  # of two as near, the one that holds more
        return round(ratio + abs(math.log(place[1] / clients)), 9), heads, place[1]

    return rivals(runs, *min(near, key=distance), guess, design)


def where(found: Sequence[Rival]) -> str:
    """Where shipped rivals were run: `ε 3, 8 clients, 10 rounds, 5 seeds`; nothing where none trains."""
    trained = [one for one in found if one.clients]
    if not trained:
        return ""
    first, count = trained[0], min(len(one.curves) for one in trained)
    told = f"ε {epsilon_text(first.epsilon)}, {first.clients} clients, {len(first.curves[0])} rounds"
    return f"{told}, {count} seed{'s' * (count > 1)}"


def told(task: str, found: Sequence[Rival]) -> str:
    """What lies beside a run, in a sentence."""
    if not found:
        return (
            f"No run of a baseline on {task} is shipped: "
            "`lalora report DIR --baselines` trains them beside a run that is kept in DIR."
        )
    at = where(found)
    return f"Beside it, from shipped runs{at and f' ({at})'}: {', '.join(one.text for one in found)}."


def told_of_run(method: Method, accuracy: float, samples: int, found: Sequence[Rival]) -> list[str]:
    """A sentence for each shipped rival that is ahead of a run, or level with it; see `runs.standing`."""
    at = where(found)
    basis = f"one run, against shipped ones{at and f' at {at}'}"
    others = [(one.label, one.accuracy) for one in found if one.name != method.name]  # its own kind is no measure
    return of_one_run(method, accuracy, samples, others, basis)
