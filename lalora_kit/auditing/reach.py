"""Reach: what so many virtual clients can show at most. It is known before any of them runs.

An audit whose trials are all told apart is *saturated*: its bound stops where their number ends, so a broken loop and a
right one look alike from a claim of that size on. A claim within reach is audited; one beyond is not cleared.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lalora_kit.auditing.bounds import epsilon_bound, fewest_trials

LEAST_TRIALS, MOST_TRIALS = 100, 1_000_000
ROOM = 1.0  # nats by which the trials should be able to show more than the claim: a false alarm or two cost that


def trials_needed(epsilon: float, delta: float, confidence: float) -> int | None:
    """The fewest virtual clients that could contradict ε, all of them told apart; None if `MOST_TRIALS` could not.

    Half of them are in each world, and half of those are counted.
    """
    counted = fewest_trials(epsilon, delta, confidence, MOST_TRIALS // 4)
    return None if counted is None else max(LEAST_TRIALS, 4 * counted)


def most_shown(trials: int, delta: float, confidence: float) -> float:
    """The largest ε that so many virtual clients can show: every canary found, no false alarm.

    >>> round(most_shown(1000, 1e-3, 0.99), 2), round(most_shown(4000, 1e-3, 0.99), 2)
    (3.84, 5.24)
    """
    world = trials // 2
    counted = world - world // 2  # the other half chooses the threshold
    none = np.array(0)
    return float(epsilon_bound(np.array(counted), counted, none, counted, delta, confidence))


def within_reach(claims: Iterable[float], epsilon: float, trials: int, delta: float, confidence: float) -> float | None:
    """The largest of `claims`, none above ε, that so many trials can contradict with `ROOM`; None where none is."""
    most = most_shown(trials, delta, confidence) - ROOM
    return max((claim for claim in claims if claim <= min(epsilon, most)), default=None)
