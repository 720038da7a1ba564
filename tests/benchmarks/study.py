"""A table of accuracy: per ε the rates are chosen on some seeds, what is reported are others.

Per ε the head's rate is the one that is best for `head-only`, and is the same for all that have an adapter; the
adapter's rate is each method's own best of one grid. Both are chosen by the mean over the tuning seeds; what is
reported is the chosen cell on seeds that chose nothing. A linear model has a rate of its own: run here, from the
head's grid (`against`), or else taken from the grid that ships for the task (`python -m lalora_kit.trial.grid
--baselines`). Choosing on private accuracy would cost budget in a real deployment; here the test set is public and the
runs are a simulation.

Each run is appended to a JSON-lines file as soon as it ends; a second call goes on.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lalora_kit.base.threads import usable_cores
from lalora_kit.runs.standing import AHEAD, sentence
from lalora_kit.runs.usual import settings_for
from lalora_kit.settings import Settings
from lalora_kit.trial import rivals
from lalora_kit.trial.beside import standing
from lalora_kit.trial.designs import Design, design_of
from lalora_kit.trial.effects import together
from lalora_kit.trial.study import Cell, curves, ensure, made_with

METHOD_NAMES = ("la-lora", "dp-lora", "ffa-lora", "rolora", "head-only")
HEAD_ONLY = "head-only"
NO_ADAPTER = (HEAD_ONLY, *rivals.LINEARS)
REPORTED_SEEDS = (0, 1, 2, 3, 4)
Row = tuple[str, str, int]  # method, epsilon, clients
Rates = tuple[float, float]  # of the adapter, of the head
Done = dict[Cell, list[float]]
Grids = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Study:
    """What a table is of: a task, the grids by ε, the seeds that choose, and where the runs are kept.

    alone: a method that is also trained without noise by one client with all the data, with a grid of its own: the
    ceiling. Both of its parts are the adapter's rates. against: what each method's gain is told over. reported: seeds.
    last: whether a run is tested at its end alone.
    """

    command: str
    task: str
    results: Path
    rates: Grids
    head_rates: Grids
    tuning_seeds: Mapping[str, tuple[int, ...]]
    alone: tuple[str, tuple[float, ...]] | None = None
    against: tuple[str, ...] = (HEAD_ONLY,)
    reported: tuple[int, ...] = REPORTED_SEEDS
    last: bool = False

    @property
    def usual(self) -> Settings:
        """What does not vary."""
        return settings_for(self.task)

    @property
    def design(self) -> Design:
        """What the shipped runs of the task are of."""
        return design_of(self.task)

    @property
    def ceiling(self) -> Row | None:
        """The row of the ceiling, if there is one."""
        return (self.alone[0], "inf", 1) if self.alone else None

    def cells(self, row: Row, rates: Rates, seeds: tuple[int, ...] | None = None) -> list[Cell]:
        """A row at its two rates, by default on the tuning seeds; everything else at the defaults."""
        method, epsilon, clients = row
        seeds = self.tuning_seeds[epsilon] if seeds is None else seeds
        return [Cell(method, rates[0], float(epsilon), self.usual.rank, clients, seed, rates[1]) for seed in seeds]

    def grid(self, row: Row, done: Done) -> list[Rates]:
        """The same adapter rates for every method, at the head's rate that is best for head-only.

        The adapter's rate means nothing where there is none; it stands at the usual one there.
        """
        method, epsilon, _ = row
        if method in NO_ADAPTER:
            return [(self.usual.learning_rate, head) for head in self.head_rates[epsilon]]
        _, head = self.best((HEAD_ONLY, epsilon, self.usual.clients), done)
        rates = self.alone[1] if self.alone and row == self.ceiling else self.rates[epsilon]
        return [(rate, head) for rate in rates]

    def best(self, row: Row, done: Done) -> Rates:
        """The rates with the highest mean accuracy after the last round, over the tuning seeds."""
        return max(
            self.grid(row, done), key=lambda rates: statistics.fmean(done[c][-1] for c in self.cells(row, rates))
        )

    def at_an_end(self, row: Row, done: Done) -> bool:
        """Whether a wider grid might hold a better rate."""
        return self.best(row, done) in (self.grid(row, done)[0], self.grid(row, done)[-1])

    def shown(self, row: Row, done: Done, seeds: tuple[int, ...]) -> str:
        """Mean ± standard deviation over the reported seeds, and the chosen rates."""
        chosen = self.best(row, done)
        values = [done[cell][-1] for cell in self.cells(row, chosen, seeds)]
        return f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f} ({chosen[0]:g}, {chosen[1]:g})"

    def gain(self, row: Row, other: str, done: Done, seeds: tuple[int, ...]) -> str:
        """A method less another, seed by seed, in points, and its standard error."""
        sides = [self.cells(side, self.best(side, done), seeds) for side in (row, (other, *row[1:]))]
        points = [100 * (done[one][-1] - done[other][-1]) for one, other in zip(*sides, strict=True)]
        return f"{statistics.fmean(points):+.1f} ({statistics.stdev(points) / math.sqrt(len(points)):.1f})"

    def beside_all(self, epsilon: str) -> list[rivals.Rival]:
        """What ships of linear models and of the public guess, at the default clients."""
        if len(self.against) > 1:
            return []  # its own are run here
        runs, guess = rivals.shipped(self.task)
        found = [rivals.rival(runs, name, float(epsilon), self.usual.clients, self.design) for name in rivals.LINEARS]
        return [*(one for one in found if one is not None), *rivals.untrained(guess, self.design)]

    def shipped(self, epsilons: list[str]) -> list[str]:
        """Names of the rivals that ship for the task."""
        return list(dict.fromkeys(one.name for epsilon in epsilons for one in self.beside_all(epsilon)))

    def other(self, name: str, epsilon: str, seeds: int) -> str:
        """A rival's entry in the table; a public guess has no spread, and what does not ship a dash."""
        for one in self.beside_all(epsilon):
            if one.name == name:
                values = [curve[-1] for curve in one.curves][:seeds]
                spread = f" ± {statistics.stdev(values):.3f} (–, {one.rate:g})" if len(values) > 1 else ""
                return f"{statistics.fmean(values):.3f}{spread}"
        return "–"

    def beside(self, epsilons: list[str], methods: list[str], seeds: tuple[int, ...], done: Done) -> list[str]:
        """A sentence for each baseline that is level with an adapter, or ahead of one, at each ε; one family.

        Of the linear models it is the one that is stronger on the seeds that choose.
        """
        adapters = [method for method in methods if method not in NO_ADAPTER]
        names = dict.fromkeys([*methods, *self.against])
        values = {
            (method, epsilon): [
                done[cell][-1]
                for row in [(method, epsilon, self.usual.clients)]
                for cell in self.cells(row, self.best(row, done), seeds)
            ]
            for method in names
            for epsilon in epsilons
        }
        found = [(name, e, values[name, e]) for name in names if name in NO_ADAPTER for e in epsilons]
        runs, guess = rivals.shipped(self.task) if len(self.against) == 1 else ({}, math.nan)
        at, design = self.usual.clients, self.design
        others = [(e, one) for e in epsilons for one in rivals.rivals(runs, float(e), at, guess, design)]
        found += [(o.name, e, [c[-1] for c in o.curves] * len(seeds)) for e, o in others if o.name != HEAD_ONLY]
        family = [
            [100 * (one - other) for one, other in zip(values[method, epsilon], own, strict=False)]
            for _, epsilon, own in found for method in adapters
        ]  # fmt: skip
        effects, said = iter(together(family)), []
        for name, epsilon, own in found:
            against = {m: (statistics.fmean(values[m, epsilon]), standing(next(effects))) for m in adapters}
            if any(place != AHEAD for _, place in against.values()):
                basis = f"{len(seeds)} seeds, {len(family)} intervals that hold together at 95 %"
                mean = statistics.fmean(own[: len(seeds)])
                said.append(sentence(name, mean, against, basis, f"at ε = {epsilon}"))
        return said

    def finished(self, epsilons: list[str], methods: list[str], seeds: tuple[int, ...], workers: int) -> Done:
        """All runs that the table needs: those of the head's rate first, then of the adapter's, then the reported."""
        made = made_with(self.command, self.task)
        self.results.parent.mkdir(parents=True, exist_ok=True)

        def run(wanted: list[Cell]) -> Done:
            ensure(wanted, made, self.results, workers, last=self.last)
            return curves(self.results)

        heads: list[Row] = [
            (m, e, self.usual.clients) for e in epsilons for m in dict.fromkeys([HEAD_ONLY, *self.against])
        ]
        done = run([cell for row in heads for rates in self.grid(row, {}) for cell in self.cells(row, rates)])
        rows = heads + [(m, e, self.usual.clients) for e in epsilons for m in methods if m not in NO_ADAPTER]
        rows += [self.ceiling] if self.ceiling else []
        done = run([cell for row in rows for rates in self.grid(row, done) for cell in self.cells(row, rates)])
        return run([cell for row in rows for cell in self.cells(row, self.best(row, done), seeds)])

    def report(self, epsilons: list[str], methods: list[str], seeds: tuple[int, ...], done: Done) -> str:
        """The table in Markdown, the gains over head-only, and which best rates lie at an end of their grid."""
        names = dict.fromkeys([*methods, *self.against])
        rows = {method: [(method, epsilon, self.usual.clients) for epsilon in epsilons] for method in names}

        def line(name: str, entries: list[str]) -> str:
            return f"| {name} | {' | '.join(entries)} |"

        named = [f"{row[0]} at ε = {row[1]}" for own in rows.values() for row in own if self.at_an_end(row, done)]
        chose = ", ".join(f"{self.tuning_seeds[epsilon]} at ε = {epsilon}" for epsilon in epsilons)
        lines = [
            line("method", [f"ε = {epsilon}" for epsilon in epsilons]),
            "|---" * (len(epsilons) + 1) + "|",
            *(line(method, [self.shown(row, done, seeds) for row in own]) for method, own in rows.items()),
            *(
                line(f"{method} less {other}", [self.gain(row, other, done, seeds) for row in own])
                for method, own in rows.items()
                for other in self.against
                if method not in NO_ADAPTER
            ),
            *(line(name, [self.other(name, e, len(seeds)) for e in epsilons]) for name in self.shipped(epsilons)),
            *self.beside(epsilons, methods, seeds, done),
            f"mean ± standard deviation over seeds {seeds}; in brackets the rates of adapter and head",
            f"seeds that chose the rates: {chose}",
            "less another: points, seed by seed, and in brackets their standard error",
            f"best rate at an end of its grid: {', '.join(named) or 'none'}",
        ]
        if self.ceiling:
            alone = self.shown(self.ceiling, done, seeds)
            lines.append(f"not private: one client with all the data, as many steps: {alone}")
        return "\n".join([*lines, f"(Python {platform.python_version()})"])

    def main(self, description: str | None) -> None:
        """Tune, report, print."""
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--epsilon", nargs="+", choices=list(self.rates), default=list(self.rates))
        parser.add_argument("--methods", nargs="+", choices=METHOD_NAMES, default=list(METHOD_NAMES))
        parser.add_argument("--reported-seeds", nargs="+", type=int, default=list(self.reported))
        parser.add_argument("--workers", type=int, default=usable_cores())
        options = parser.parse_args()
        seeds = tuple(options.reported_seeds)
        used = {seed for chosen in self.tuning_seeds.values() for seed in chosen}
        if len(seeds) < 2 or set(seeds) & used:
            parser.error(f"--reported-seeds {seeds}: two or more are needed, none of {used}, which choose the rates")
        epsilons = list(dict.fromkeys([*options.epsilon, *(["inf"] if self.ceiling else [])]))
        done = self.finished(epsilons, options.methods, seeds, options.workers)
        print(self.report(options.epsilon, options.methods, seeds, done))
