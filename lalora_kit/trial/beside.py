"""Beside: the baselines that every comparison shows, and whether an adapter is ahead of them at all.

    head-only     the backbone as it is and a new head
    linear        a private linear model on the raw inputs (`tasks.heads.linear`); where gradients' histograms
                  (`linear-hog`) do better on the seeds that choose rates, these are shown in its place
    untrained     what public knowledge alone reaches, where a task has such a guess; no ε

Every side is taken at its best head's rate of the design's, chosen on the seeds that choose all rates here: head-only
and linear models, which have no other, and each adapter at the adapter's rate that the claims chose for it. Differences
are paired by seed; all of a table are one family (`effects`), apart from the claims', whose head's rate is one for all
and whose verdicts they do not touch. An adapter is ahead of a baseline only where the whole interval is; where it
covers zero the two are level: these seeds cannot tell them apart.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lalora_kit.base.files import dumps, write_atomically
from lalora_kit.runs.standing import AHEAD, BEHIND, LEVEL, sentence
from lalora_kit.runs.yardsticks import HEAD_ONLY, UNTRAINED
from lalora_kit.trial.claims import Claim
from lalora_kit.trial.designs import Design, Grid, Runs, at_best, has_rate, head_rate, run_of, tuned
from lalora_kit.trial.effects import Effect, together
from lalora_kit.trial.rivals import LINEARS, bare_run
from lalora_kit.trial.study import Cell, ensure, lines, made_with
from lalora_kit.trial.tables import shortened

RUNS, TABLE = "baselines.jsonl", "baselines.json"


@dataclass(frozen=True)
class Baseline:
    """A baseline at one ε: mean accuracy over the reported seeds, at its head's rate (NaN where nothing trains).

    over: by method, the method's accuracy at its best rates less the baseline's, in points.
    heads: by method, the head's rate at which it is taken.
    grid: the rates that these were chosen from.
    """

    name: str
    epsilon: float
    accuracy: float
    rate: float
    over: Mapping[str, Effect]
    heads: Mapping[str, float] = field(default_factory=dict)
    grid: Grid = ()

    @property
    def text(self) -> str:
        """The sentence."""
        against = {m: (self.accuracy + effect.mean / 100, standing(effect)) for m, effect in self.over.items()}
        among = max((effect.among for effect in self.over.values()), default=0)
        seeds = min((effect.seeds for effect in self.over.values()), default=0)
        basis = f"{seeds} seeds, every side at its best rates; {among} intervals that hold together at 95 %"
        return sentence(self.name, self.accuracy, against, basis, f"at ε={self.epsilon:g}")

    @property
    def at_an_end(self) -> list[str]:
        """Sides whose head's rate lies at an end of the grid; `head-only at ε=1`."""
        rates = {self.name: self.rate, **self.heads}
        return [f"{name} at ε={self.epsilon:g}" for name, r in rates.items() if r in (*self.grid[:1], *self.grid[-1:])]

    def to_json(self) -> dict[str, Any]:
        """A flat mapping, with a key and a verdict as the rows of the claims have."""
        words = {AHEAD: "ahead", LEVEL: "level", BEHIND: "behind"}
        said = {name: words[standing(effect)] for name, effect in self.over.items()}
        record: dict[str, Any] = {
            "key": f"beside-{self.name}-{self.epsilon:g}", "claim": self.text, "baseline": self.name,
            "epsilon": self.epsilon, "accuracy": self.accuracy, "head_rate": self.rate,
            "verdict": ", ".join(f"{name} {word}" for name, word in said.items()),
        }  # fmt: skip
        for method, effect in self.over.items():
            record |= {f"{method}_{part}": getattr(effect, part) for part in ("mean", "low", "high", "seeds")}
        record |= {f"{method}_head_rate": rate for method, rate in self.heads.items()}
        return {key: shortened(value) for key, value in record.items()}


def standing(effect: Effect) -> int:
    """Where a method stands to a baseline, from its lead; without a spread the lead itself decides."""
    low, high = (effect.mean, effect.mean) if effect.still else (effect.low, effect.high)
    return AHEAD if low > 0 else BEHIND if high < 0 else LEVEL


@dataclass(frozen=True)
class Side:
    """One side of the comparison at one ε: a baseline, or a method at its adapter's rate; its head's rate is open."""

    name: str
    epsilon: float
    design: Design
    rate: float

    def run(self, head: float, seed: int) -> Cell:
        """The run at a head's rate."""
        if self.name in (HEAD_ONLY, *LINEARS):
            return bare_run(self.name, head, self.epsilon, seed, self.design)
        return run_of(self.name, self.rate, self.epsilon, seed, self.design, head_learning_rate=head)

    def choosing(self) -> list[Cell]:
        """The runs that choose the head's rate."""
        return [self.run(head, seed) for head in self.design.head_rates for seed in self.design.tuning_seeds]

    def chosen(self, runs: Runs) -> tuple[float, float]:
        """Mean accuracy on the seeds that choose, and the head's rate that has most; NaN where a run is missing."""
        heads, seeds = self.design.head_rates, self.design.tuning_seeds
        means = [(statistics.fmean(accuracy(runs, self.run(head, s)) for s in seeds), head) for head in heads]
        return max(means, key=lambda one: one[0])

    def values(self, runs: Runs) -> list[float]:
        """Accuracy by seed, at the best head's rate."""
        return [accuracy(runs, self.run(self.chosen(runs)[1], seed)) for seed in self.design.seeds]


def run_beside(
    out: Path, runs: Runs, claims: Sequence[Claim], design: Design, *,
    workers: int | None = None, command: str = "lalora claims",
) -> list[Baseline]:  # fmt: skip
    """Run what is missing of the baselines, and of the methods at other head's rates, keep it, and hold them together.

    Args:
        out: folder of the runs, in `baselines.jsonl`; `baselines.json` is the table.
        runs: those of the claims, which chose the adapters' rates.
        claims, design, workers, command: as for `claim_runs.run_claims`.
    """
    from lalora_kit.tasks import load_task
    from lalora_kit.tasks.heads.linear import linear_views
    from lalora_kit.tasks.heads.public import guessed

    loaded, path, made = load_task(design.task), out / RUNS, made_with(command, design.task)
    views = list(linear_views(loaded))
    sides = adapted(runs, claims, design)
    found = [side for e, adapters in sides.items() for side in (*bare(e, views, design), *adapters)]
    ensure([cell for side in found for cell in side.choosing() if cell not in runs], made, path, workers, last=True)
    known = {**runs, **lines(path)}
    reported = [side.run(side.chosen(known)[1], seed) for side in found for seed in design.seeds]
    ensure([cell for cell in reported if cell not in runs], made, path, workers, last=True)
    table = beside({**runs, **lines(path)}, claims, design, views, guessed(loaded))
    rows = [baseline.to_json() for baseline in table]
    write_atomically(out / TABLE, dumps({"made": made, "head_rates": design.head_rates, "rows": rows}))
    return table


def adapted(runs: Runs, claims: Iterable[Claim], design: Design) -> dict[float, list[Side]]:
    """The adapters of the claims at the usual settings, by ε, each at the rate that the claims chose for it."""
    named = {(c.epsilon, at_best(arm)): None for c in claims if not c.at for arm in c.arms if has_rate(arm)}
    sides: dict[float, list[Side]] = {epsilon: [] for epsilon in sorted({epsilon for epsilon, _ in named})}
    for epsilon, method in named:
        moved = {"head_learning_rate": head_rate(runs, epsilon, design, {})}
        sides[epsilon].append(Side(method, epsilon, design, tuned(runs, method, epsilon, design, moved)))
    return sides


def bare(epsilon: float, views: Sequence[str], design: Design) -> list[Side]:
    """The baselines that train."""
    return [Side(name, epsilon, design, design.usual.learning_rate) for name in (HEAD_ONLY, *views)]


def choosing_runs(out: Path, design: Design) -> int:
    """How many of the kept runs only chose a head's rate."""
    return sum(cell.seed in design.tuning_seeds for cell in lines(out / RUNS))


def accuracy(runs: Runs, cell: Cell) -> float:
    """Of the last round; NaN where the run is missing."""
    return float(runs[cell]["curve"][-1]) if cell in runs else math.nan


def beside(runs: Runs, claims: Iterable[Claim], design: Design, views: Sequence[str], guess: float) -> list[Baseline]:
    """Each baseline at each ε with every adapter of the claims, from the runs that there are."""
    rows: list[tuple[str, float, list[float], float, list[Side]]] = []
    for epsilon, adapters in adapted(runs, claims, design).items():
        head, *linear = bare(epsilon, views, design)
        stronger = [max(linear, key=lambda side: side.chosen(runs)[0])] if linear else []
        found = [(s.name, s.values(runs), s.chosen(runs)[1]) for s in (head, *stronger)]
        found += [(UNTRAINED, [guess] * len(design.seeds), math.nan)] if math.isfinite(guess) else []
        rows += [(name, epsilon, values, rate, adapters) for name, values, rate in found]
    family = [
        [100 * (one - other) for one, other in zip(side.values(runs), values, strict=True)]
        for _, _, values, _, adapters in rows for side in adapters
    ]  # fmt: skip
    effects = iter(together(family))
    return [
        Baseline(
            name, epsilon, statistics.fmean(values), rate, {side.name: next(effects) for side in adapters},
            {side.name: side.chosen(runs)[1] for side in adapters}, design.head_rates,
        )
        for name, epsilon, values, rate, adapters in rows
    ]  # fmt: skip
