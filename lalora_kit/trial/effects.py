"""Paired effects and their intervals: one error control for all that a table or a figure tells. Nothing is run here.

All effects of a table are one family of k. By Bonferroni's correction each has a t interval at 1 − .05/k, so that in
95 of 100 such studies every interval of the table holds its true effect at once, and whatever is read off them is true.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

LEVEL, POWER = 0.05, 0.8
SAME = 1e-9  # differences closer than this, or than this share of them, differ by rounding alone


@dataclass(frozen=True)
class Effect:
    """Mean paired effect over seeds with its interval, and p of no effect; both are corrected for the family.

    among: how many intervals hold together with this one at 95 %. detectable: the smallest true effect that as many
    seeds with this spread would show, at the corrected level, in 4 of 5 studies. low, high, p and detectable are NaN
    with fewer than two seeds, and where all seeds agree exactly: nothing is left to judge the error by.
    """

    mean: float
    low: float
    high: float
    seeds: int
    p: float
    detectable: float
    among: int = 1

    @property
    def still(self) -> bool:
        """Whether all seeds gave the same difference, so that there is no spread and no interval."""
        return self.seeds >= 2 and not math.isfinite(self.low)

    @property
    def margin(self) -> float:
        """Half the interval."""
        return (self.high - self.low) / 2


def finite(differences: Sequence[float]) -> list[float]:
    """The differences that were measured."""
    return [x for x in differences if math.isfinite(x)]


def no_spread(values: Sequence[float]) -> bool:
    """Whether all values are one, but for the last digits of floating point."""
    return math.isclose(min(values), max(values), rel_tol=SAME, abs_tol=SAME)


def p_alone(differences: Sequence[float]) -> float:
    """p of the two-sided paired t-test, uncorrected; NaN where there is nothing to test by."""
    from scipy.stats import ttest_1samp

    values = finite(differences)
    return math.nan if len(values) < 2 or no_spread(values) else float(ttest_1samp(values, 0.0).pvalue)


def effect_at(differences: Sequence[float], among: int = 1, p: float = math.nan) -> Effect:
    """One effect of a family of `among`, with the interval that it has there; `p` is its corrected p, if asked for."""
    values, nothing = finite(differences), math.nan
    mean = statistics.fmean(values) if values else nothing
    if len(values) < 2 or no_spread(values):
        return Effect(mean, nothing, nothing, len(values), nothing, nothing, among)
    count, level = len(values), LEVEL / among
    error = statistics.stdev(values) / math.sqrt(count)
    half, shown = half_width(count, level) * error, detectable(count, level) * error
    return Effect(mean, mean - half, mean + half, count, p, shown, among)


def together(family: Sequence[Sequence[float]], among: int | None = None) -> list[Effect]:
    """The effects of a family, from one difference a seed each; all that is told side by side belongs in one call.

    An effect without a test counts in the family too: its size is settled before anything is measured. `among`: how
    many intervals hold together, where these are not all of them.

    >>> one, other = together([[1.0, 2.0, 3.0], [0.0, 0.1, -0.1]])
    >>> one.among, one.low < 0 < one.high
    (2, True)
    """
    if not family:
        return []
    from statsmodels.stats.multitest import multipletests

    among = len(family) if among is None else among
    alone = [p_alone(differences) for differences in family]
    counted = [*(p if math.isfinite(p) else 1.0 for p in alone), *[1.0] * (among - len(family))]
    corrected = multipletests(counted, LEVEL, method="bonferroni")[1]
    return [effect_at(values, among, float(p)) for values, p in zip(family, corrected, strict=False)]


def half_width(seeds: int, level: float) -> float:
    """Half the t interval at 1 − level, in standard errors."""
    from scipy.stats import t

    return float(t.isf(level / 2, seeds - 1))


@lru_cache(maxsize=256)
def detectable(seeds: int, level: float) -> float:
    """The true effect, in standard errors, that the interval parts from zero in 4 of 5 studies.

    With few seeds the standard error that a study finds is itself a matter of chance (a χ), which an extreme level
    makes count; so the power is averaged over it.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2, norm

    width, points = half_width(seeds, level), (np.arange(4000) + 0.5) / 4000
    errors = width * np.sqrt(chi2.ppf(points, seeds - 1) / (seeds - 1))  # what is found, in true standard errors

    def short(size: float) -> float:
        """How far the power at this size is from what is asked; the interval may part on either side."""
        return float(np.mean(norm.cdf(size - errors) + norm.cdf(-size - errors))) - POWER

    return float(brentq(short, 0.0, float(errors.max()) + 10))
