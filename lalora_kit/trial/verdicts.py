"""The rule by which a claim gets its verdict; nothing is run here.

For each row, seeds are paired (equal partition, draws and start):

- *equal*: both sides at the default learning rate; *best*: each at the rate that is best for it on other seeds, chosen
  from one grid that is the same for all (a task has its own, in `RATES`). The head's rate is one for all. At best a
  control that is a smaller step is the method itself, whose step is tuned. *control*: at the default rate, against
  what moves as little.
- All these effects of a table are one family. Each has a t interval widened by Bonferroni's correction, so that all
  intervals of the table are right at once in 95 of 100 such studies (`effects`). Table, figure and text
  show these intervals, and the verdict is read off them alone: none can say what its interval denies.
- **holds**: the interval at best lies above 0. **the opposite holds**: it lies below 0. **... only at equal learning
  rate**: the interval at best covers 0, and the one at equal rate does not. **ruled out above x**: neither, and x, the
  upper end at best, is above 0 and below the paper's figure (where the paper gives none in these units: the smallest
  effect that would matter). If x is 0: **no gain, and less than that lost or won**. **too few seeds to say**:
  everything else. **no verdict**: at best all seeds give the same difference; without a spread there is no error to
  judge by, and ties are no evidence. *Contradicted* is kept for exact statements.

The first form of this rule was written before the runs. This form was written after the first runs had been seen, and
the same runs are judged by it. Changed: Holm's correction within a column decided, beside intervals of 95 % for each
row alone, so a row could say two things at once; now one family of intervals decides and is shown. A clear reversal
has its own verdict, what cannot be seen is told at the corrected level, and ties give no verdict, where they were
certain before.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context

from lalora_kit.trial.claims import CLAIMS, Claim, Line
from lalora_kit.trial.effects import Effect, together
from lalora_kit.trial.study import DEFAULTS, Cell, find

#: Rates of the adapter to choose from, by task. Where the head makes up most of a clipped gradient (`stdlib-docs`), an
#: adapter bears far larger ones; the grid reaches from where nothing is lost any more to where methods break down.
RATES: Mapping[str, tuple[float, ...]] = {
    "digits": (0.125, 0.25, 0.5, 1.0, 2.0),
    "stdlib-docs": (0.125, 0.5, 2.0, 4.0, 8.0),
}
EQUAL = DEFAULTS.learning_rate
TUNING_SEEDS = (5, 6, 7)
SEEDS = (0, 1, 2, 3, 4)
TOO_FEW = "too few seeds to say"
STILL = "no verdict: the same difference in every seed"
AT_EQUAL = " only at equal learning rate"
Runs = Mapping[Cell, Line]
Grid = Sequence[float]
Rates = tuple[float, float]


def rates_of(task: str = "digits") -> Grid:
    """The rates to choose from on a task or another split of its data; those of `digits` where it has no grid."""
    return next((rates for name, rates in RATES.items() if task.startswith(name)), RATES["digits"])


@dataclass(frozen=True)
class Row:
    """A claim with what was measured; `control` is its effect against what moves as little, at equal rate.

    rates: at best, of either side. head_only: mean accuracy without an adapter.
    """

    claim: Claim
    equal: Effect
    best: Effect
    control: Effect
    rates: Rates
    head_only: float

    @property
    def verdict(self) -> str:
        """The rule at the head of this file."""
        if self.best.still:
            return STILL
        if not math.isfinite(self.best.low):
            return TOO_FEW
        for where, effect in (("", self.best), (AT_EQUAL, self.equal)):
            if effect.low > 0:
                return f"holds{where}"
            if effect.high < 0:
                return f"the opposite holds{where}"
        return excluded(self.best) if self.best.high < self.claim.at_stake else TOO_FEW


def excluded(effect: Effect) -> str:
    """What an interval that covers 0 leaves no room for; its ends are rounded outwards, never to a smaller claim."""
    if effect.high > 0:
        return f"ruled out above {outwards(effect.high)}"
    return f"no gain, and less than {outwards(-effect.low)} lost or won"


def outwards(size: float) -> str:
    """A positive size to three digits, rounded up.

    >>> outwards(9.7012), outwards(0.36), outwards(1402.0)
    ('9.71', '0.36', '1410')
    """
    return f"{float(Context(prec=3, rounding=ROUND_CEILING).create_decimal(repr(float(size)))):g}"


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


def differences(
    runs: Runs, claim: Claim, arms: tuple[str, str], rates: Mapping[float, Rates], seeds: Sequence[int]
) -> list[float]:
    """The effect of `arms` in the claim's unit by seed, at a rate for each side and ε; NaN where a run is missing."""

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

    return [one_seed(seed) for seed in seeds]


def judge(
    runs: Runs, claims: Iterable[Claim] = CLAIMS, seeds: Sequence[int] = SEEDS, rates: Grid = RATES["digits"]
) -> list[Row]:
    """Every claim with its effects and verdict, from the runs that there are; `rates` is the grid that they are of."""
    claims, family, chosen = list(claims), [], []
    for claim in claims:
        own = {e: (tuned(runs, claim.one, e, rates), tuned(runs, claim.other, e, rates)) for e in claim.epsilons}
        same = dict.fromkeys(claim.epsilons, (EQUAL, EQUAL))
        family.append(differences(runs, claim, claim.arms, same, seeds))
        family.append(differences(runs, claim, (at_best(claim.one), at_best(claim.other)), own, seeds))
        if claim.control:
            family.append(differences(runs, claim, (claim.one, claim.control), same, seeds))
        chosen.append(own[claim.epsilon])
    effects, [none] = iter(together(family)), together([[]])
    rows = []
    for claim, rates_chosen in zip(claims, chosen, strict=True):
        equal, best = next(effects), next(effects)
        control = next(effects) if claim.control else none
        rows.append(Row(claim, equal, best, control, rates_chosen, head_only(runs, claim.epsilon, seeds)))
    return rows


def head_only(runs: Runs, epsilon: float, seeds: Sequence[int]) -> float:
    """Mean final accuracy without an adapter, the measure of every row."""
    cells = [run_of("head-only", EQUAL, epsilon, seed) for seed in seeds]
    return statistics.fmean([runs[cell]["curve"][-1] for cell in cells if cell in runs] or [math.nan])
