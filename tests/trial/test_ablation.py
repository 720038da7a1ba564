"""What the grid says: means over the seeds that are done, paired differences, and where a line falls off."""

import math
from dataclasses import replace

import pytest

from lalora_kit.trial.ablation import best, cliff, gain, line
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
