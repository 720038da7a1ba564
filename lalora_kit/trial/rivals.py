"""Rivals: what has no adapter, in the shipped grid: the head alone and linear models on the raw inputs, at their best.

    python -m lalora_kit.trial.grid --baselines           # the runs of these alone; a linear model's take a second

A rival has no rank and no adapter's rate, so its runs are by ε, clients and seed. Its one rate is the head's: chosen
for each ε and number of clients from `HEAD_RATES`, on the seeds that choose every rate here, and reported on others.
What has no training (`untrained`, a public guess) is one number, written beside the runs with what made them.
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
from lalora_kit.trial.grid import AXES, SEEDS, file_of, load
from lalora_kit.trial.study import DEFAULTS, Cell, ensure
from lalora_kit.trial.verdicts import TUNING_SEEDS

#: Of the head: one grid for every side of a comparison, with an adapter or without.
HEAD_RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
LINEARS = (LINEAR, HOG)
TRAINED = (HEAD_ONLY, *LINEARS)
NAMES = (*TRAINED, UNTRAINED)
Curves = Mapping[Cell, Sequence[float]]
Place = tuple[float, int]  # ε, clients


@dataclass(frozen=True)
class Rival:
    """A baseline at one place: accuracy after each round, a curve a seed; `untrained` has one, that never moves.

    rate: of the head; NaN where nothing trains, as are ε and clients.
    chosen: whether the rate was chosen; else it is the default one, and the label says so.
    """

    name: str
    epsilon: float
    clients: int
    rate: float
    curves: Sequence[Sequence[float]]
    chosen: bool = True

    @property
    def label(self) -> str:
        """Its name, and that its rate is the default one, where no runs chose it."""
        return self.name if self.chosen else f"{self.name}, default rate"

    @property
    def accuracy(self) -> float:
        """Mean over the seeds, after the last round."""
        return statistics.fmean(curve[-1] for curve in self.curves)

    @property
    def text(self) -> str:
        """`linear 83.1%`."""
        return f"{self.label} {self.accuracy:.1%}"


def bare_run(name: str, rate: float, epsilon: float, seed: int, clients: int = DEFAULTS.clients) -> Cell:
    """The run of what has no adapter; the adapter's rate and rank are nothing to it, and stand at the defaults."""
    return Cell(name, DEFAULTS.learning_rate, epsilon, DEFAULTS.rank, clients, seed, rate)


def places(name: str) -> list[Place]:
    """Where a rival is run: a linear model, which is cheap, at every ε and number of clients; the head along each."""
    every = list(itertools.product(AXES["epsilon"], map(int, AXES["clients"])))
    return [p for p in every if name in LINEARS or p[0] == DEFAULTS.epsilon or p[1] == DEFAULTS.clients]


def choosing(name: str, at: Iterable[Place]) -> list[Cell]:
    """The runs that choose a rival's rate at some places."""
    return [bare_run(name, rate, e, seed, n) for e, n in at for rate in HEAD_RATES for seed in TUNING_SEEDS]


def known(names: Iterable[str] = TRAINED, seeds: Iterable[int] = SEEDS) -> set[Cell]:
    """Every run of a rival that the grid may hold: which rate is reported is a matter of the runs."""
    cells = {bare_run(m, r, e, s, n) for m in names for e, n in places(m) for r in HEAD_RATES for s in seeds}
    return cells | {cell for name in names for cell in choosing(name, places(name))}


def fill(
    path: Path, made: dict[str, Any], names: Iterable[str], seeds: Sequence[int] = SEEDS, workers: int | None = None
) -> None:
    """Run what is missing of the rivals, ε by ε: first what chooses their rates, then what is reported."""
    names = list(names)
    for epsilon in sorted(AXES["epsilon"], key=lambda e: (e != DEFAULTS.epsilon, e)):
        at = [(name, place) for name in names for place in places(name) if place[0] == epsilon]
        ensure([cell for name, place in at for cell in choosing(name, [place])], made, path, workers)
        runs = load(path)
        best = [(name, best_rate(runs, name, e, n), e, n) for name, (e, n) in at]
        ensure([bare_run(name, rate, e, s, n) for s in seeds for name, rate, e, n in best], made, path, workers)


def chosen_on(runs: Curves, name: str, epsilon: float, clients: int) -> dict[float, float]:
    """Mean final accuracy on the seeds that choose, by the head's rate; empty if one of these runs is missing."""
    found = {}
    for rate in HEAD_RATES:
        cells = [bare_run(name, rate, epsilon, seed, clients) for seed in TUNING_SEEDS]
        if any(cell not in runs for cell in cells):
            return {}
        found[rate] = statistics.fmean(runs[cell][-1] for cell in cells)
    return found


def best_rate(runs: Curves, name: str, epsilon: float, clients: int = DEFAULTS.clients) -> float:
    """The head's rate that is best for a rival on the seeds that choose; NaN if a run is missing."""
    found = chosen_on(runs, name, epsilon, clients)
    return max(found, key=lambda rate: found[rate], default=math.nan)


def rival(runs: Curves, name: str, epsilon: float, clients: int) -> Rival | None:
    """A rival over the reported seeds, at its best rate or, where none was chosen, the default; None without runs."""
    rate = best_rate(runs, name, epsilon, clients)
    chosen = math.isfinite(rate)
    rate = rate if chosen else DEFAULTS.head_learning_rate
    cells = [bare_run(name, rate, epsilon, seed, clients) for seed in SEEDS]
    curves = [runs[cell] for cell in cells if cell in runs]
    return Rival(name, epsilon, clients, rate, curves, chosen) if curves else None


def rivals(runs: Curves, epsilon: float, clients: int, guess: float = math.nan) -> list[Rival]:
    """All that there are at one place: the head alone, the stronger linear model (on other seeds), the public guess."""
    tops = {name: max(chosen_on(runs, name, epsilon, clients).values(), default=-1.0) for name in LINEARS}
    stronger = max(LINEARS, key=lambda name: tops[name])
    found = [rival(runs, name, epsilon, clients) for name in (HEAD_ONLY, stronger)]
    return [one for one in found if one is not None] + untrained(guess)


def untrained(guess: float) -> list[Rival]:
    """What public knowledge alone reaches, if the task has such a guess."""
    flat = [[guess] * DEFAULTS.rounds]
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
    runs, guess = shipped(task)
    there = {place for name in TRAINED for place in places(name) if rival(runs, name, *place)}
    near = [place for place in there if math.isinf(place[0]) == math.isinf(epsilon)]
    if not near:
        return untrained(guess)

    def distance(place: Place) -> tuple[float, int, int]:
        ratio = 0.0 if math.isinf(epsilon) else abs(math.log(place[0] / epsilon))
        heads = not rival(runs, HEAD_ONLY, *place)  # of two as near, the one that holds more
        return round(ratio + abs(math.log(place[1] / clients)), 9), heads, place[1]

    return rivals(runs, *min(near, key=distance), guess)


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
