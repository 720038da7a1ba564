"""The rule by which a claim gets its verdict; it was written before the runs. Nothing is run here.

For each row, seeds are paired (equal partition, draws and start):

- *equal*: both sides at the default learning rate; *best*: each at the rate that is best for it on other seeds, chosen
  from one grid that is the same for all (a task has its own, in `RATES`). The head's rate is one for all. At best a
  control that is a smaller step is the method itself, whose step is tuned.
- A difference is **clear** if its two-sided paired t-test stays below 5 % after Holm's correction over all rows.
- **holds**: clear at best, with the sign of the claim. **holds only at equal learning rate**: clear at equal alone.
  **ruled out above x**: not so, and an effect as large as the paper's is clearly excluded (where the paper gives no
  figure in these units: the smallest effect that would matter); x is the upper end of the 95 % interval at best.
  **too few seeds to say**: everything else. *Contradicted* is kept for exact statements.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lalora_kit.claims import CLAIMS, Claim, Line
from lalora_kit.trials import DEFAULTS, Cell, find

#: Rates of the adapter to choose from, by task. Where the head makes up most of a clipped gradient (`stdlib-docs`), an
#: adapter bears far larger ones; the grid reaches from where nothing is lost any more to where methods break down.
RATES: Mapping[str, tuple[float, ...]] = {
    "digits": (0.125, 0.25, 0.5, 1.0, 2.0),
    "stdlib-docs": (0.125, 0.5, 2.0, 4.0, 8.0),
}
EQUAL = DEFAULTS.learning_rate
TUNING_SEEDS = (5, 6, 7)
SEEDS = (0, 1, 2, 3, 4)
LEVEL, POWER = 0.05, 0.8
Runs = Mapping[Cell, Line]
Grid = Sequence[float]
Rates = tuple[float, float]


def rates_of(task: str = "digits") -> Grid:
    """The rates to choose from on a task or another split of its data; those of `digits` where it has no grid."""
    return next((rates for name, rates in RATES.items() if task.startswith(name)), RATES["digits"])


@dataclass(frozen=True)
class Effect:
    """Mean paired effect over seeds with its 95 % interval; p of no effect, and of one as large as `at_stake`.

    detectable: the smallest true effect that as many seeds with this spread would have shown in 4 of 5 studies.
    """

    mean: float
    low: float
    high: float
    seeds: int
    p: float
    p_as_large: float
    detectable: float

    @classmethod
    def of(cls, differences: Sequence[float], at_stake: float) -> Effect:
        """From one difference a seed; NaN in all figures but the mean where there are fewer than two."""
        from scipy.stats import t

        values = [x for x in differences if math.isfinite(x)]
        n = len(values)
        mean = statistics.fmean(values) if n else math.nan
        if n < 2:
            return cls(mean, math.nan, math.nan, n, math.nan, math.nan, math.nan)
        error = statistics.stdev(values) / math.sqrt(n)
        half = float(t.ppf(1 - LEVEL / 2, n - 1)) * error
        if error == 0:  # the same in every seed
            return cls(mean, mean, mean, n, float(mean == 0), float(mean >= at_stake), 0.0)
        p = 2 * float(t.sf(abs(mean) / error, n - 1))
        p_as_large = float(t.cdf((mean - at_stake) / error, n - 1))
        return cls(mean, mean - half, mean + half, n, p, p_as_large, half + float(t.ppf(POWER, n - 1)) * error)


@dataclass(frozen=True)
class Row:
    """A claim with what was measured; `control` is its effect against what moves as little, at equal rate.

    rates: at best, of either side. head_only: mean accuracy without an adapter. The p-values are Holm's.
    """

    claim: Claim
    equal: Effect
    best: Effect
    control: Effect
    rates: Rates
    head_only: float
    p_equal: float = math.nan
    p_best: float = math.nan
    p_as_large: float = math.nan

    @property
    def verdict(self) -> str:
        """The rule at the head of this file."""
        if self.p_best < LEVEL and self.best.mean > 0:
            return "holds"
        if self.p_equal < LEVEL and self.equal.mean > 0:
            return "holds only at equal learning rate"
        if self.p_as_large < LEVEL:
            return f"ruled out above {self.best.high:.2g}"
        return "too few seeds to say"


def base(arm: str) -> tuple[str, float]:
    """Method and factor on the adapter's rate of an arm: `dp-lora × 0.5` -> ("dp-lora", 0.5)."""
    method, times, factor = arm.partition(" × ")
    return method, float(factor) if times else 1.0


def has_rate(arm: str) -> bool:
    """Whether the adapter's rate acts on an arm; without an adapter there is nothing to act on."""
    return bool(find(base(arm)[0]).trained_in(1, DEFAULTS.local_steps))


def run_of(arm: str, rate: float, epsilon: float, seed: int) -> Cell:
    """The run of an arm: the factor of a control is on the rate."""
    method, factor = base(arm)
    rate = round(rate * factor, 9) if has_rate(arm) else EQUAL
    return Cell(method, rate, epsilon, DEFAULTS.rank, DEFAULTS.clients, seed)


def at_best(arm: str) -> str:
    """The arm whose rate is tuned: a control that is a smaller step is then the method itself."""
    return base(arm)[0]


def tuned(runs: Runs, arm: str, epsilon: float, rates: Grid) -> float:
    """The rate that is best for an arm on the tuning seeds, by mean final accuracy; NaN if a run is missing."""
    means = {}
    for rate in rates:
        cells = [run_of(at_best(arm), rate, epsilon, seed) for seed in TUNING_SEEDS]
        if any(cell not in runs for cell in cells):
            return math.nan
        means[rate] = statistics.fmean(runs[cell]["curve"][-1] for cell in cells)
    return max(means, key=lambda rate: means[rate])


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down rule; NaN stays NaN and does not count."""
    order = sorted((i for i, p in enumerate(values) if math.isfinite(p)), key=lambda i: values[i])
    corrected, largest = list(values), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * values[i]))
        corrected[i] = largest
    return corrected


def effect(
    runs: Runs, claim: Claim, arms: tuple[str, str], rates: Mapping[float, Rates], seeds: Sequence[int]
) -> Effect:
    """The effect of `arms` in the claim's unit, at a rate for each side and ε, over the seeds that have all runs."""

    def one_seed(seed: int) -> float:
        found = []
        for epsilon in claim.epsilons:
            one, other = (
                runs.get(run_of(arm, rate, epsilon, seed)) for arm, rate in zip(arms, rates[epsilon], strict=True)
            )
            if one is None or other is None or (claim.unit.probe and not ("coupling" in one and "coupling" in other)):
                return math.nan
            found.append(claim.unit.effect(one, other))
        return found[0] - found[1] if claim.less is not None else found[0]

    at_stake = claim.paper if claim.paper is not None and claim.paper > 0 else claim.unit.least
    return Effect.of([one_seed(seed) for seed in seeds], at_stake)


def judge(
    runs: Runs, claims: Iterable[Claim] = CLAIMS, seeds: Sequence[int] = SEEDS, rates: Grid = RATES["digits"]
) -> list[Row]:
    """Every claim with its effects and verdict, from the runs that there are; `rates` is the grid that they are of."""
    rows = []
    for claim in claims:
        own = {e: (tuned(runs, claim.one, e, rates), tuned(runs, claim.other, e, rates)) for e in claim.epsilons}
        same = dict.fromkeys(claim.epsilons, (EQUAL, EQUAL))
        equal = effect(runs, claim, claim.arms, same, seeds)
        best = effect(runs, claim, (at_best(claim.one), at_best(claim.other)), own, seeds)
        control = effect(runs, claim, (claim.one, claim.control or claim.other), same, seeds if claim.control else ())
        rows.append(Row(claim, equal, best, control, own[claim.epsilon], head_only(runs, claim.epsilon, seeds)))
    tests = zip(
        holm([row.equal.p for row in rows]),
        holm([row.best.p for row in rows]),
        holm([row.best.p_as_large for row in rows]),
        strict=True,
    )
    return [replace(row, p_equal=p, p_best=q, p_as_large=large) for row, (p, q, large) in zip(rows, tests, strict=True)]


def head_only(runs: Runs, epsilon: float, seeds: Sequence[int]) -> float:
    """Mean final accuracy without an adapter, the measure of every row."""
    cells = [run_of("head-only", EQUAL, epsilon, seed) for seed in seeds]
    return statistics.fmean([runs[cell]["curve"][-1] for cell in cells if cell in runs] or [math.nan])
