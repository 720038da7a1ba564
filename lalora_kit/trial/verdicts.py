"""The rule by which a claim gets its verdict; nothing is run here.

For each row, seeds are paired (equal partition, draws and start):

- *equal*: both sides at the usual learning rate; *best*: each at the rate that is best for it on other seeds, chosen
  from one grid that is the same for all (a task has its own, in `designs`). The head's rate is one for all: the usual
  one, or at best the one that is best for head-only there, where the design says so. At best a control that is a
  smaller step is the method itself, whose step is tuned. *control*: at the usual rate, against what moves as little.
- All these effects of a table are one family. Each has a t interval widened by Bonferroni's correction, so that all
  intervals of the table are right at once in 95 of 100 such studies (`effects`). Table, figure and text
  show these intervals, and the verdict is read off them alone: none can say what its interval denies.
- A design may have **more seeds** for the rows that the first ones leave undecided. Each row may then be looked at
  twice, and all intervals are so wide that those of both looks are right at once. A second look counts when all its
  seeds are there.
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
certain before. The second look came later, before the first claim on mnist was judged.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context

from lalora_kit.runs.yardsticks import HEAD_ONLY
from lalora_kit.trial.claims import CLAIMS, Claim
from lalora_kit.trial.designs import LESSONS, Chosen, Design, Rates, Runs, at_best, chosen, run_of
from lalora_kit.trial.effects import Effect, finite, together

TOO_FEW = "too few seeds to say"
STILL = "no verdict: the same difference in every seed"
AT_EQUAL = " only at equal learning rate"


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
    def undecided(self) -> bool:
        """Whether more seeds could say more."""
        return self.verdict in (TOO_FEW, STILL)

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


def differences(
    runs: Runs, claim: Claim, arms: tuple[str, str], rates: Mapping[float, Rates], design: Design,
    heads: Mapping[float, float],
) -> list[float]:  # fmt: skip
    """The effect of `arms` in the claim's unit by seed, at a rate for each side and ε; NaN where a run is missing.

    `heads`: the head's rate by ε.
    """

    def one_seed(seed: int) -> float:
        found = []
        for epsilon in claim.epsilons:
            moved = {**claim.moved, "head_learning_rate": heads[epsilon]}
            one, other = (
                runs.get(run_of(arm, rate, epsilon, seed, design, **moved))
                for arm, rate in zip(arms, rates[epsilon], strict=True)
            )
            if one is None or other is None or (claim.unit.probe and not ("coupling" in one and "coupling" in other)):
                return math.nan
            found.append(claim.unit.effect(one, other))
        return found[0] - found[1] if claim.less is not None else found[0]

    return [one_seed(seed) for seed in design.seeds]


def measured(runs: Runs, claim: Claim, best: Chosen, design: Design) -> list[list[float]]:
    """The claim's differences by seed: at equal rate, at best, and against the control, if it has one."""
    usual = design.usual
    same = dict.fromkeys(claim.epsilons, (usual.learning_rate, usual.learning_rate))
    usually = dict.fromkeys(claim.epsilons, usual.head_learning_rate)
    found = [
        differences(runs, claim, claim.arms, same, design, usually),
        differences(runs, claim, (at_best(claim.one), at_best(claim.other)), best.rates, design, best.heads),
    ]
    if claim.control:
        found.append(differences(runs, claim, (claim.one, claim.control), same, design, usually))
    return found


def judge(runs: Runs, claims: Iterable[Claim] = CLAIMS, design: Design = LESSONS) -> list[Row]:
    """Every claim with its effects and verdict, from the runs that there are, which are of the `design`."""
    best = {claim: chosen(runs, claim, design) for claim in claims}
    first = {claim: measured(runs, claim, found, design) for claim, found in best.items()}
    among = design.looks * sum(map(len, first.values()))
    rows = judged(runs, best, first, design, among)
    if not design.more:
        return rows
    later = replace(design, seeds=(*design.seeds, *design.more), more=())
    second = {row.claim: measured(runs, row.claim, best[row.claim], later) for row in rows if row.undecided}
    whole = {c: found for c, found in second.items() if all_there(first[c], found, len(design.more))}
    again = {row.claim: row for row in judged(runs, best, whole, later, among)}
    return [again.get(row.claim, row) for row in rows]


def all_there(before: Sequence[Sequence[float]], now: Sequence[Sequence[float]], more: int) -> bool:
    """Whether each difference of a second look has all seeds that came in: another count would be a third look."""
    return all(len(finite(b)) - len(finite(a)) == more for a, b in zip(before, now, strict=True))


def judged(
    runs: Runs, best: Mapping[Claim, Chosen], found: Mapping[Claim, list[list[float]]], design: Design, among: int
) -> list[Row]:
    """The rows of some claims, whose intervals hold together with all `among`."""
    effects, [none] = iter(together([values for own in found.values() for values in own], among)), together([[]])
    rows = []
    for claim in found:
        equal, at_their_best = next(effects), next(effects)
        control = next(effects) if claim.control else none
        rates, head = best[claim].rates[claim.epsilon], best[claim].heads[claim.epsilon]
        rows.append(Row(claim, equal, at_their_best, control, rates, head_only(runs, claim, head, design)))
    return rows


def head_only(runs: Runs, claim: Claim, head: float, design: Design) -> float:
    """Mean final accuracy without an adapter at the head's rate of the claim, the measure of every row."""
    moved = {**claim.moved, "head_learning_rate": head}
    rate = design.usual.learning_rate
    cells = [run_of(HEAD_ONLY, rate, claim.epsilon, seed, design, **moved) for seed in design.seeds]
    return statistics.fmean([runs[cell]["curve"][-1] for cell in cells if cell in runs] or [math.nan])
