"""Beside: the baselines that every comparison shows, and whether an adapter is ahead of them at all.

    head-only     the backbone as it is, its head at the default rate, as in all runs here
    linear        a private linear model on the raw inputs (`tasks.heads.linear`); where gradients' histograms
                  (`linear-hog`) do better on the seeds that choose rates, these are shown in its place
    untrained     what public knowledge alone reaches, where a task has such a guess; no ε

A linear model has no adapter, so its one rate is the head's: chosen from `HEAD_RATES` on the seeds that choose the
adapters' rates. Each adapter is taken at its best rate. Differences are paired by seed; all of a table are one family
(`effects`), apart from the claims', whose verdicts they do not touch. An adapter is ahead of a baseline only where the
whole interval is; where it covers zero the two are level: these seeds cannot tell them apart.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalora_kit.base.files import dumps, write_atomically
from lalora_kit.runs.yardsticks import HEAD_ONLY, UNTRAINED
from lalora_kit.trial.claims import Claim
from lalora_kit.trial.effects import Effect, together
from lalora_kit.trial.study import Cell, ensure, lines, made_with
from lalora_kit.trial.tables import shortened
from lalora_kit.trial.verdicts import EQUAL, TUNING_SEEDS, Grid, Runs, at_best, has_rate, run_of, tuned

if TYPE_CHECKING:
    from lalora_kit.tasks import Task

HEAD_RATES = (0.5, 1.0, 2.0, 4.0, 8.0)
RUNS, TABLE = "baselines.jsonl", "baselines.json"


@dataclass(frozen=True)
class Baseline:
    """A baseline at one ε: mean accuracy over the reported seeds, at its head's rate (NaN where nothing trains).

    over: by method, the method's accuracy at its best rate less the baseline's, in points.
    """

    name: str
    epsilon: float
    accuracy: float
    rate: float
    over: Mapping[str, Effect]

    def methods(self, sign: int) -> list[str]:
        """Methods that are ahead of the baseline (1), level with it (0) or behind it (-1)."""
        return [method for method, effect in self.over.items() if standing(effect) == sign]

    @property
    def verdict(self) -> str:
        """How the methods stand to it, in words."""
        said = [
            f"{words} {', '.join(names)}"
            for words, names in (("ahead of", self.methods(-1)), ("level with", self.methods(0)))
            if names
        ]
        return f"is {' and '.join(said)}" if said else "is behind every adapter"

    @property
    def text(self) -> str:
        """The sentence."""
        return f"{self.name} at ε={self.epsilon:g} (accuracy {self.accuracy:.3f}) {self.verdict}"

    def to_json(self) -> dict[str, Any]:
        """A flat mapping, with a key and a verdict as the rows of the claims have."""
        record: dict[str, Any] = {
            "key": f"beside-{self.name}-{self.epsilon:g}", "claim": self.text, "baseline": self.name,
            "epsilon": self.epsilon, "accuracy": self.accuracy, "head_rate": self.rate, "verdict": self.verdict,
        }  # fmt: skip
        for method, effect in self.over.items():
            record |= {f"{method}_{part}": getattr(effect, part) for part in ("mean", "low", "high", "seeds")}
        return {key: shortened(value) for key, value in record.items()}


def standing(effect: Effect) -> int:
    """1 ahead, -1 behind, 0 level; without a spread the difference itself decides."""
    low, high = (effect.mean, effect.mean) if effect.still else (effect.low, effect.high)
    return 1 if low > 0 else -1 if high < 0 else 0


def linear_run(name: str, rate: float, epsilon: float, seed: int) -> Cell:
    """The run of a linear model: its rate is the head's."""
    return replace(run_of(HEAD_ONLY, EQUAL, epsilon, seed), method=name, head_learning_rate=rate)


def run_beside(
    out: Path, runs: Runs, claims: Sequence[Claim], *, task: str, seeds: Sequence[int], rates: Grid,
    workers: int | None = None, command: str = "lalora claims",
) -> list[Baseline]:  # fmt: skip
    """Run what is missing of the baselines, keep it in `out`/baselines.jsonl, and hold the claims' methods to them.

    Args:
        out: folder of the runs; `baselines.json` is the table.
        runs: those of the claims, which hold the methods and head-only.
        claims, task, seeds, rates, workers, command: as for `claim_runs.run_claims`.
    """
    from lalora_kit.tasks import load_task
    from lalora_kit.tasks.heads.linear import linear_views

    loaded, path, made = load_task(task), out / RUNS, made_with(command, task)
    views, epsilons = list(linear_views(loaded)), sorted({claim.epsilon for claim in claims})
    chosen = [
        linear_run(v, rate, e, seed) for v in views for e in epsilons for rate in HEAD_RATES for seed in TUNING_SEEDS
    ]
    ensure(chosen, made, path, workers)
    best = {(v, e): best_rate(lines(path), v, e) for v in views for e in epsilons}
    ensure([linear_run(v, rate, e, seed) for (v, e), rate in best.items() for seed in seeds], made, path, workers)
    found = beside({**runs, **lines(path)}, claims, seeds, rates, views, untrained(loaded))
    write_atomically(out / TABLE, dumps({"made": made, "head_rates": HEAD_RATES, "rows": [b.to_json() for b in found]}))
    return found


def best_rate(runs: Runs, name: str, epsilon: float) -> float:
    """The head's rate that is best for a linear model on the tuning seeds."""
    return max(HEAD_RATES, key=lambda rate: tuning_accuracy(runs, name, rate, epsilon))


def tuning_accuracy(runs: Runs, name: str, rate: float, epsilon: float) -> float:
    """Mean accuracy on the seeds that choose."""
    return statistics.fmean(accuracy(runs, linear_run(name, rate, epsilon, seed)) for seed in TUNING_SEEDS)


def accuracy(runs: Runs, cell: Cell) -> float:
    """Of the last round; NaN where the run is missing."""
    return float(runs[cell]["curve"][-1]) if cell in runs else math.nan


def untrained(task: Task) -> float:
    """Test accuracy of a task's public guess; NaN where it has none."""
    if task.guess is None:
        return math.nan
    return float((task.guess(task.test.inputs) == task.test.labels).double().mean())


def beside(
    runs: Runs, claims: Iterable[Claim], seeds: Sequence[int], rates: Grid, views: Sequence[str], guessed: float
) -> list[Baseline]:
    """Each baseline at each ε with every adapter of the claims, from the runs that there are."""
    sides = {(claim.epsilon, at_best(arm)): None for claim in claims for arm in claim.arms if has_rate(arm)}
    rows: list[tuple[str, float, list[float], float, list[str]]] = []
    for epsilon in sorted({epsilon for epsilon, _ in sides}):
        methods = [method for e, method in sides if e == epsilon]
        found = [(HEAD_ONLY, EQUAL, [accuracy(runs, run_of(HEAD_ONLY, EQUAL, epsilon, seed)) for seed in seeds])]
        tried = [(view, best_rate(runs, view, epsilon)) for view in views]
        if tried:
            view, rate = max(tried, key=lambda one: tuning_accuracy(runs, one[0], one[1], epsilon))
            found.append((view, rate, [accuracy(runs, linear_run(view, rate, epsilon, seed)) for seed in seeds]))
        if math.isfinite(guessed):
            found.append((UNTRAINED, math.nan, [guessed] * len(seeds)))
        rows += [(name, epsilon, values, rate, methods) for name, rate, values in found]
    family = [
        [100 * (one - other) for one, other in zip(at_its_best(runs, m, epsilon, seeds, rates), values, strict=True)]
        for _, epsilon, values, _, methods in rows for m in methods
    ]  # fmt: skip
    effects = iter(together(family))
    return [
        Baseline(name, epsilon, statistics.fmean(values), rate, {method: next(effects) for method in methods})
        for name, epsilon, values, rate, methods in rows
    ]


def at_its_best(runs: Runs, method: str, epsilon: float, seeds: Sequence[int], rates: Grid) -> list[float]:
    """A method's accuracy by seed, at the rate that other seeds chose."""
    rate = tuned(runs, method, epsilon, rates)
    return [accuracy(runs, run_of(method, rate, epsilon, seed)) for seed in seeds]
