"""What the grid says: accuracy by rate, where a line falls off, and differences that come with an interval.

A difference is taken seed by seed, since runs of one seed share partition, draws and start. Where each line stands at
its own best rate, that rate was chosen on the same seeds: both sides of a difference gain from it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.methods import Method
from lalora_kit.settings import Settings
from lalora_kit.trial.designs import LESSONS, Design, design_of
from lalora_kit.trial.effects import effect_at
from lalora_kit.trial.grid import RATE, TASK, cell
from lalora_kit.trial.study import VARIED, Cell

__all__ = [
    "BEST", "TASK", "Gain", "best", "beyond", "cliff", "furthest", "gain", "gains", "line", "nearest", "seeds_at",
    "told",
]  # fmt: skip

Runs = Mapping[Cell, Sequence[float]]
FREE = ("seed", "device", "max_samples", "teaching")  # what may differ between runs that are drawn together
LEAST_SEEDS = 3
BEST = "each at its best"  # in place of a common rate
FALL = 0.75  # of its own best accuracy: below this a line has fallen off


def line(runs: Runs, series: str, axis: str = RATE, design: Design = LESSONS) -> dict[float, list[float]]:
    """Final accuracies by the axis' value, one a seed that is done; values without any are left out."""
    wanted = {x: [cell(series, axis, x, seed, design) for seed in design.drawn] for x in design.axes[axis]}
    found = {x: [runs[c][-1] for c in cells if c in runs] for x, cells in wanted.items()}
    return {x: accuracies for x, accuracies in found.items() if accuracies}


def beyond(settings: Settings, moved: Sequence[str], task: str = TASK) -> bool:
    """Whether settings differ from a task's usual ones in more than those `moved`, and in what may differ anyway."""
    return settings != replace(design_of(task).usual, **{name: getattr(settings, name) for name in (*moved, *FREE)})


def seeds_at(runs: Runs, method: Method, settings: Settings, task: str = TASK) -> list[Sequence[float]]:
    """Accuracy after each round of the task's runs at just these settings, one a seed; none where there are none.

    `runs`: the grid of that task (`grid.load(grid.file_of(task))`).
    """
    if beyond(settings, VARIED, task):
        return []
    design = design_of(task)
    values = {name: getattr(settings, name) for name in VARIED}
    if not method.trained_in(1, settings.local_steps):
        values[RATE] = design.usual.learning_rate  # the adapter's rate is nothing to it
    rate, epsilon = values.pop(RATE), values.pop("epsilon")
    found = [design.run(method.name, rate, epsilon, seed, **values) for seed in design.drawn]
    return [runs[c] for c in found if c in runs]


def nearest(runs: Runs, method: Method, settings: Settings, task: str = TASK) -> Settings | None:
    """The settings of the task's runs of a method that are nearest on logarithmic axes; without noise, such runs alone.

    None where there is no run of it.
    """
    usual, design = design_of(task).usual, design_of(task)
    at = [
        c for c in runs
        if c.method == method.name and c.seed in design.drawn and math.isinf(c.epsilon) == math.isinf(settings.epsilon)
        and (c.head_learning_rate, c.dirichlet_beta) == (usual.head_learning_rate, usual.dirichlet_beta)
    ]  # fmt: skip
    bare = not method.trained_in(1, settings.local_steps)  # the adapter's rate is nothing to it

    def distance(cell: Cell) -> tuple[float, ...]:
        values = [getattr(cell, name) for name in VARIED]
        pairs = [
            (x, getattr(settings, name)) for x, name in zip(values, VARIED, strict=True) if not bare or name != RATE
        ]
        return round(sum(abs(math.log(x / y)) for x, y in pairs if x != y), 9), *values

    found = min(at, key=distance, default=None)
    return None if found is None else replace(usual, **{name: getattr(found, name) for name in VARIED})


def told(curves: Sequence[Sequence[float]], method: Method, settings: Settings, task: str = TASK) -> str:
    """What `seeds_at` found, in a sentence of two short lines, or that it found nothing."""
    if not curves:
        usual = design_of(task).usual
        start = f"ε {epsilon_text(usual.epsilon)}, rank {usual.rank}, {usual.clients} clients"
        return (
            f"The shipped grid holds no run of {method.name} at these settings:\n"
            f"it moves one of rate, ε, rank and clients at a time away from {start}, "
            f"{usual.rounds} rounds on {task}."
        )
    ends = [curve[-1] for curve in curves]
    count, spread = "1 seed", ""
    if len(ends) > 1:
        count, spread = f"{len(ends)} seeds", f" on average, {min(ends):.1%} to {max(ends):.1%}"
    at = f"rate {settings.learning_rate:g}, ε {epsilon_text(settings.epsilon)}, rank {settings.rank}"
    where = f"{count} of {method.name} at {at}, {settings.clients} clients"
    return f"The shipped grid, {where}:\n{statistics.fmean(ends):.1%}{spread}, after {len(curves[0])} rounds."


@dataclass(frozen=True)
class Gain:
    """Mean difference between two lines over the seeds that both have, in points, and half its 95 % interval.

    `among` says how many such differences are looked at together; each interval is widened for it (Bonferroni). NaN
    stands for no interval: one seed, or the same difference in every seed, which leaves no spread to judge by.
    """

    points: float
    margin: float
    seeds: int
    among: int = 1

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero; too few seeds are never clear."""
        return self.seeds >= LEAST_SEEDS and abs(self.points) > self.margin

    def __str__(self) -> str:
        if not self.seeds:
            return "no run of it yet"
        if self.seeds < LEAST_SEEDS:
            return f"{self.points:+.1f} points ({self.seeds} seed{'s' * (self.seeds > 1)}: too few to tell)"
        share = "95 %" if self.among == 1 else f"95 % over all {self.among}"
        if math.isnan(self.margin):
            return f"{self.points:+.1f} points (the same in {self.seeds} seeds: no spread to tell by)"
        word = "clear" if self.clear else "not clear"
        return f"{self.points:+.1f} ± {self.margin:.1f} points ({share}, {self.seeds} seeds): {word}"


def best(runs: Runs, series: str, design: Design = LESSONS) -> float:
    """The adapter's rate with the highest mean accuracy; NaN without any run."""
    means = {x: statistics.fmean(values) for x, values in line(runs, series, design=design).items()}
    return max(means, key=lambda x: means[x], default=math.nan)


def gain(
    runs: Runs,
    one: str,
    other: str,
    rates: tuple[float, float],
    *,
    among: int = 1,
    design: Design = LESSONS,
    seeds: Sequence[int] = (),
) -> Gain:
    """How much the final accuracy of `one` is above that of `other`, at a rate each, seed by seed."""
    pairs = [
        (cell(one, RATE, rates[0], seed, design), cell(other, RATE, rates[1], seed, design))
        for seed in seeds or design.drawn
    ]
    differences = [100 * (runs[a][-1] - runs[b][-1]) for a, b in pairs if a in runs and b in runs]
    effect = effect_at(differences, among)
    return Gain(effect.mean, effect.margin, effect.seeds, among)


def gains(
    runs: Runs, asked: Iterable[tuple[str, str, float | str]], design: Design = LESSONS
) -> dict[tuple[str, str, float | str], Gain]:
    """Differences that are told together: `(one, other, rate)`, or `BEST` for each side's own best rate."""
    every = list(asked)
    at = [
        (best(runs, one, design), best(runs, other, design)) if isinstance(place, str) else (place, place)
        for one, other, place in every
    ]
    return {
        (one, other, place): gain(runs, one, other, rates, among=len(every), design=design)
        for (one, other, place), rates in zip(every, at, strict=True)
    }


def furthest(runs: Runs, one: str, other: str, design: Design = LESSONS) -> float:
    """The common rate at which the means of two lines lie furthest apart, whichever is above; NaN without both."""
    first, second = (
        {x: statistics.fmean(values) for x, values in line(runs, series, design=design).items()}
        for series in (one, other)
    )
    return max(first.keys() & second.keys(), key=lambda x: abs(first[x] - second[x]), default=math.nan)


def cliff(runs: Runs, series: str, design: Design = LESSONS) -> float:
    """The largest rate up to which mean accuracy keeps three quarters of the line's own best; NaN without any run."""
    means = {x: statistics.fmean(values) for x, values in sorted(line(runs, series, design=design).items())}
    last = math.nan
    for x, mean in means.items():
        if mean < FALL * max(means.values()):
            if x > best(runs, series, design):
                break
        else:
            last = x
    return last
