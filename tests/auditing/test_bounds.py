"""Bounds on ε from counts: against scipy's exact intervals, against tests whose ε is known, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from lalora_kit.auditing.bounds import epsilon_bound, lower_bound


@pytest.mark.parametrize(("hits", "false_alarms"), [(0, 0), (40, 3), (100, 0), (100, 100), (7, 90), (73, 41)])
@pytest.mark.parametrize("confidence", [0.9, 0.99, 0.999])
def test_the_rates_are_clopper_and_pearsons(hits, false_alarms, confidence):
    low = binomtest(hits, 100).proportion_ci(confidence, "exact").low
    high = binomtest(false_alarms, 100).proportion_ci(confidence, "exact").high
    expected = max(0.0, math.log((low - 0.01) / high)) if low > 0.01 else 0.0
    found = epsilon_bound(np.array(hits), 100, np.array(false_alarms), 100, 0.01, confidence)
    assert float(found) == pytest.approx(expected, abs=1e-9)


def test_worlds_apart_reach_the_ceiling_and_are_called_saturated():
    found = lower_bound(np.arange(1000.0) + 5000, np.arange(1000.0), 1e-3, 0.99)
    assert found.epsilon_lower == found.ceiling == pytest.approx(4.54, abs=0.005)
    assert (found.tpr, found.fpr, found.saturated) == (1.0, 0.0, True)
    assert 999 < found.threshold < 5000
    more = lower_bound(np.arange(2000.0) + 5000, np.arange(2000.0), 1e-3, 0.99)
    assert more.ceiling - found.ceiling == pytest.approx(math.log(2), abs=0.02)  # twice the trials


def test_equal_worlds_say_nothing():
    scores = np.random.default_rng(0).standard_normal(1000)
    found = lower_bound(scores, scores[::-1].copy(), 1e-3, 0.99)
    assert found.epsilon_lower < 0.2 and not found.saturated
    assert lower_bound(np.zeros(100), np.zeros(100), 1e-3, 0.99).epsilon_lower == 0.0


def test_the_mirror_image_is_taken_where_it_shows_more():
    """Half of those who held it cannot have been without: only "did not hold" is ever certain to be wrong."""
    random = np.random.default_rng(0)
    outside = random.uniform(0, 1, 1000)
    inside = random.uniform(0.5, 1.5, 1000)
    plain, mirror = lower_bound(inside, outside, 0.0, 0.99), lower_bound(-outside, -inside, 0.0, 0.99)
    assert plain.epsilon_lower == pytest.approx(mirror.epsilon_lower, abs=0.15)
    low = np.concatenate([np.zeros(300), np.ones(700)])
    found = lower_bound(np.ones(1000), random.permutation(low), 0.0, 0.99)
    assert found.mirrored and found.fpr == 0 and found.tpr == pytest.approx(0.3, abs=0.06)
    assert not lower_bound(random.permutation(low) + 1, np.ones(1000), 0.0, 0.99).mirrored


def false_bounds(epsilon: float, confidence: float, repeats: int, seed: int = 0) -> tuple[int, float]:
    """Randomised response, whose ε is exact: how many bounds are above it, and their mean."""
    random, p = np.random.default_rng(seed), 1 / (1 + math.exp(-epsilon))
    found = [
        lower_bound(
            (random.random(500) < p).astype(float), (random.random(500) < 1 - p).astype(float), 0.0, confidence
        ).epsilon_lower
        for _ in range(repeats)
    ]
    return sum(bound > epsilon for bound in found), float(np.mean(found))


# The bound exceeds the true ε with probability .1 at most: of 200, P[more than 40] is 6e-6. Seed 0.
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0, 3.0])
def test_the_bound_holds_as_often_as_it_says_and_is_near(epsilon):
    above, mean = false_bounds(epsilon, 0.9, 200)
    assert above <= 40
    assert epsilon - 0.75 < mean < epsilon


def test_trials_that_choose_the_threshold_are_not_counted():
    """A threshold that happens to part the first half must not count for the second."""
    random = np.random.default_rng(0)
    inside, outside = random.random(400), random.random(400)
    inside[:200] += 10
    found = lower_bound(inside, outside, 0.0, 0.99)
    assert found.epsilon_lower == 0.0 and found.tpr == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("world", [0, 1])
def test_a_score_that_is_no_number_is_refused(bad, world):
    worlds = [np.zeros(10), np.zeros(10)]
    worlds[world][3] = bad
    with pytest.raises(ValueError, match=rf"{('inside', 'outside')[world]}\[3\]=.* is no score"):
        lower_bound(*worlds, 1e-3, 0.99)
