"""What the grid says: means over the seeds that are done, paired differences, and where a line falls off."""

import math
from dataclasses import replace

import pytest

from lalora_kit import METHODS
from lalora_kit.trial.ablation import BEST, best, cliff, furthest, gain, gains, line, nearest
from lalora_kit.trial.designs import DIGITS
from lalora_kit.trial.study import Cell

FIRST = Cell("la-lora", 0.5, 3.0, 4, 8, 0)


def test_a_line_holds_the_seeds_that_are_done():
    runs = {FIRST: [0.1, 0.4], replace(FIRST, seed=2): [0.6], replace(FIRST, learning_rate=1.0): [0.3]}
    assert line(runs, "la-lora", design=DIGITS) == {0.5: [0.4, 0.6], 1.0: [0.3]}
    assert line(runs, "la-lora", "epsilon", design=DIGITS) == {3.0: [0.4, 0.6]}
    assert line(runs, "rolora", design=DIGITS) == {}


def test_a_gain_is_paired_by_seed_and_has_an_interval():
    rival = replace(FIRST, method="rolora", learning_rate=1.0)
    runs = {replace(FIRST, seed=seed): [0.5 + seed / 10] for seed in (0, 1, 2, 3)}
    runs |= {replace(rival, seed=seed): [0.4 + seed / 10 + (seed == 1) / 100] for seed in (0, 1, 2)}
    found = gain(runs, "la-lora", "rolora", (0.5, 1.0), design=DIGITS)
    assert found.seeds == 3 and found.points == pytest.approx(29 / 3) and found.clear
    assert found.margin == pytest.approx(4.302653 * 0.577350 / 3**0.5, rel=1e-5)  # t table, two degrees of freedom
    assert "clear" in str(found) and "3 seeds" in str(found)
    wider = gain(runs, "la-lora", "rolora", (0.5, 1.0), design=DIGITS, among=6)
    assert wider.margin == pytest.approx(found.margin * 11.0 / 4.302653, rel=0.05) and "over all 6" in str(wider)
    for seeds, words in (((0,), "1 seed: too few"), ((0, 2), "2 seeds: too few")):
        few = gain(runs, "la-lora", "rolora", (0.5, 1.0), design=DIGITS, seeds=seeds)
        assert words in str(few) and not few.clear
    assert not gain(runs, "la-lora", "rolora", (8.0, 8.0), design=DIGITS).clear


def test_the_best_rate():
    runs = {FIRST: [0.4], replace(FIRST, seed=1): [0.6], replace(FIRST, learning_rate=2.0): [0.55]}
    assert best(runs, "la-lora", DIGITS) == 2.0 and math.isnan(best(runs, "rolora", DIGITS))


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [({0.25: 0.4, 0.5: 0.5, 1.0: 0.45, 2.0: 0.2, 4.0: 0.45}, 1.0), ({0.25: 0.1, 0.5: 0.4, 1.0: 0.5}, 1.0)],
)
def test_the_cliff_is_the_last_rate_before_the_fall(accuracies, expected):
    runs = {replace(FIRST, learning_rate=x): [accuracy] for x, accuracy in accuracies.items()}
    assert cliff(runs, "la-lora", DIGITS) == expected
    assert math.isnan(cliff(runs, "rolora", DIGITS))


def test_what_is_told_together_has_wider_intervals_and_each_side_its_own_best_rate():
    rival, seeds = replace(FIRST, method="rolora"), (0, 1, 2)
    runs = {replace(FIRST, seed=seed): [0.5 + seed / 10] for seed in seeds}
    runs |= {replace(FIRST, seed=seed, learning_rate=2.0): [0.8 + seed / 100] for seed in seeds}
    runs |= {replace(rival, seed=seed): [0.45 + seed / 10 + (seed == 1) / 100] for seed in seeds}
    asked = [("la-lora", "rolora", 0.5), ("la-lora", "rolora", BEST), ("la-lora", "rolora", 8.0)]
    found = gains(runs, asked, DIGITS)
    assert list(found) == asked and {one.among for one in found.values()} == {3}
    alone = gain(runs, "la-lora", "rolora", (0.5, 0.5), design=DIGITS)
    assert found[asked[0]].points == alone.points and found[asked[0]].margin > alone.margin
    assert found[asked[1]].points == pytest.approx(gain(runs, "la-lora", "rolora", (2.0, 0.5), design=DIGITS).points)
    assert found[asked[2]].seeds == 0, "no run there"


def test_the_rate_at_which_two_lines_lie_furthest_apart():
    rival = replace(FIRST, method="rolora")
    runs = {FIRST: [0.5], replace(FIRST, learning_rate=2.0): [0.2], replace(FIRST, learning_rate=8.0): [0.9]}
    runs |= {rival: [0.4], replace(rival, learning_rate=2.0): [0.6]}
    assert furthest(runs, "la-lora", "rolora", DIGITS) == furthest(runs, "rolora", "la-lora", DIGITS) == 2.0
    assert math.isnan(furthest(runs, "la-lora", "dp-lora", DIGITS)), "one line alone lies apart from nothing"


def test_the_nearest_runs_are_so_on_logarithmic_axes_and_noise_is_not_near_to_none():
    usual, method = DIGITS.usual, METHODS["la-lora"]
    runs = {replace(FIRST, epsilon=epsilon): [0.5] for epsilon in (1.0, 8.0, math.inf)}

    def at(**moved):
        return nearest(runs, method, replace(usual, **moved), "digits")

    assert at(epsilon=2.5).epsilon == 1.0 and at(epsilon=3.0).epsilon == 8.0, "√8 is the middle"
    assert at(epsilon=math.inf).epsilon == math.inf and at(epsilon=10.0).epsilon == 8.0
    assert at(epsilon=8.0, rank=32, clients=64) == replace(usual, epsilon=8.0)
    assert nearest(runs, METHODS["rolora"], usual, "digits") is None
    runs = {FIRST: [0.5], replace(FIRST, head_learning_rate=99.0, epsilon=1.0): [0.5]}
    assert at(epsilon=1.0).epsilon == 3.0, "a run at another head's rate is no neighbour"
