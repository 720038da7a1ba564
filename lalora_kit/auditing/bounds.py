"""Bounds: what the counts of a test between two worlds say about ε, at least. Pure numbers; no training here.

(ε, δ) privacy bounds every test between the worlds "held the sample" and "did not": TPR ≤ e^ε·FPR + δ, and the same
with the worlds exchanged. So rates that were counted give a lower bound on any ε that could be true (Jagielski et
al., arXiv 2006.07709; Nasr et al., arXiv 2101.04535).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta


@dataclass(frozen=True)
class Bound:
    """A lower bound on ε, and the test between the worlds that gave it, on trials that did not choose the test.

    Attributes:
        epsilon_lower: holds with probability `confidence` if trials are independent; 0 says nothing.
        confidence: of the two rates together.
        tpr, fpr: observed rates: how often the test named its world rightly, and how often wrongly.
        threshold: the score from which on (mirrored: below which) the test names its world.
        mirrored: whether it names "did not hold the sample" in place of "held it".
        ceiling: the most that so many trials can show, all of them right.
    """

    epsilon_lower: float
    confidence: float
    tpr: float
    fpr: float
    threshold: float
    mirrored: bool
    ceiling: float

    @property
    def saturated(self) -> bool:
        """No false alarm, and within ln 2 of the ceiling: the number of trials is the limit, not what leaks."""
        return self.fpr == 0 and self.epsilon_lower > self.ceiling - math.log(2)


def epsilon_bound(
    hits: np.ndarray, trials: int, false_alarms: np.ndarray, others: int, delta: float, confidence: float
) -> np.ndarray:
    """ln((TPR_low − δ) / FPR_high), 0 where that is no bound; elementwise over `hits` and `false_alarms`.

    Both rates are Clopper and Pearson's, exact, each wrong with probability (1 − confidence)/2 at most (Bonferroni).

    >>> round(float(epsilon_bound(np.array(500), 500, np.array(0), 500, 1e-3, 0.99)), 2)
    4.54
    """
    share = (1 - confidence) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(hits == 0, 0.0, beta.ppf(share, hits, trials - hits + 1))
        high = np.where(false_alarms == others, 1.0, beta.ppf(1 - share, false_alarms + 1, others - false_alarms))
    return np.log(np.maximum((low - delta) / high, 1.0))


def fewest_trials(epsilon: float, delta: float, confidence: float, most: int) -> int | None:
    """How many counted trials in each world could show more than ε, all of them right; None if `most` could not.

    >>> fewest_trials(4.5, 1e-3, 0.99, 1_000_000)
    481
    """

    def shows(trials: int) -> bool:
        right, none = np.array(trials), np.array(0)
        return float(epsilon_bound(right, trials, none, trials, delta, confidence)) > epsilon

    if not shows(most):
        return None
    return bisect_left(range(1, most + 1), True, key=shows) + 1


def lower_bound(inside: np.ndarray, outside: np.ndarray, delta: float, confidence: float) -> Bound:
    """The best test on the first half of each world's scores, and the bound that it gives on the other half.

    Args:
        inside: `(n,)` scores of trials that held the sample, in random order; higher should mean "held".
        outside: `(m,)` scores of those that did not.
        delta: the δ of the claim.
        confidence: that the bound holds, above 0.5.

    Threshold and direction are chosen on trials that the bound does not count, so the choice costs no confidence.

    Raises:
        ValueError: if a score is not finite, for it would fall on neither side of any threshold.
    """
    for name, scores in (("inside", inside), ("outside", outside)):
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            raise ValueError(
                f"{name}[{bad[0]}]={scores[bad[0]]} is no score: a release was not finite; scores must be finite "
                "numbers; look for the release that overflowed"
            )
    half, other = len(inside) // 2, len(outside) // 2
    marks = np.unique(np.concatenate([inside[:half], outside[:other]]))
    thresholds = np.concatenate([marks[:1], (marks[1:] + marks[:-1]) / 2])
    shown = [
        epsilon_bound(*counts(inside[:half], outside[:other], thresholds, mirrored), delta, confidence)
        for mirrored in (False, True)
    ]
    mirrored = bool(shown[1].max() > shown[0].max())
    threshold = float(thresholds[np.argmax(shown[mirrored])])

    hits, trials, false_alarms, others = counts(inside[half:], outside[other:], np.array([threshold]), mirrored)
    found = epsilon_bound(hits, trials, false_alarms, others, delta, confidence)
    ceiling = epsilon_bound(np.array(trials), trials, np.array(0), others, delta, confidence)
    return Bound(
        epsilon_lower=float(found[0]),
        confidence=confidence,
        tpr=float(hits[0]) / trials,
        fpr=float(false_alarms[0]) / others,
        threshold=threshold,
        mirrored=mirrored,
        ceiling=float(ceiling),
    )


def counts(
    inside: np.ndarray, outside: np.ndarray, thresholds: np.ndarray, mirrored: bool
) -> tuple[np.ndarray, int, np.ndarray, int]:
    """`(hits, trials, false alarms, others)` at each threshold `(k,)`, of the test or of its mirror image."""
    above = [len(scores) - np.searchsorted(np.sort(scores), thresholds) for scores in (inside, outside)]
    if mirrored:
        return len(outside) - above[1], len(outside), len(inside) - above[0], len(inside)
    return above[0], len(inside), above[1], len(outside)
