"""Figures of the ablation: bands that hold what they were given, each axis in its own ticks."""

import json
import math

import pytest

from lalora_kit.figures import ablation as figures_ablation
from lalora_kit.figures.ablation import axes_figure, rates_figure, rivals_along
from lalora_kit.methods import METHODS
from lalora_kit.trial import grid
from lalora_kit.trial.designs import DIGITS
from lalora_kit.trial.rivals import Rival, bare_run

LINES = {"la-lora": {0.5: [0.4, 0.6], 1.0: [0.7]}, "dp-lora × 0.5": {0.5: [0.3, 0.5], 1.0: [0.2, 0.2]}}
ACROSS = [Rival("linear", 3.0, 8, 1.0, [[0.3, 0.5]]), Rival("untrained", math.nan, 0, math.nan, [[0.2]])]
HEAD = {0.5: [0.4, 0.5], 1.0: [0.4, 0.5]}


def test_every_line_of_the_grid_has_a_look_and_no_two_the_same():
    looks = [figures_ablation.series_look(name) for name in grid.SERIES]
    told = {(look["line"]["color"], look["line"]["dash"], look["marker"]["symbol"]) for look in looks}
    assert len(told) == len(grid.SERIES)
    assert set(figures_ablation.CONTROL_LOOKS) == set(grid.SERIES) - set(METHODS)


def test_a_band_goes_from_the_worst_seed_to_the_best_and_the_line_is_the_mean():
    figure = rates_figure(LINES, ACROSS, "a finding", {"la-lora": (0.5, 0.55)})
    low, high, *_, mean, other = figure.data[:6]
    assert low.y == (0.4, 0.7) and high.y == (0.6, 0.7) and mean.y == (0.5, 0.7)
    assert mean.name == "la-lora (1 to 2 seeds)" and other.name == "dp-lora × 0.5 (2 seeds)"
    assert figure.data[6].y == (0.55,)
    assert [(trace.y[0], trace.text[-1]) for trace in figure.data[7:]] == [
        (0.5, "linear 50.0%"),
        (0.2, "untrained 20.0%"),
    ]


def test_a_line_that_was_not_run_yet_is_said_to_be_so():
    figure = rates_figure({"rolora": {}}, ACROSS, "nothing yet")
    assert [trace.name for trace in figure.data if trace.name] == ["rolora (not run yet)"]
    json.loads(figure.to_json())


def test_small_multiples_draw_each_setting_and_infinity_beside_the_largest():
    lines = {
        "epsilon": {"la-lora": {1.0: [0.3], math.inf: [0.8, 0.9]}, "head-only": {8.0: [0.5]}},
        "clients": {"la-lora": {}, "head-only": {2: [0.4, 0.6]}},
    }
    figure = axes_figure(lines, "a finding")
    means = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [trace.x for trace in means] == [(1.0, 16.0), (8.0,), (), (2,)] and means[0].y == pytest.approx((0.3, 0.85))
    assert [trace.name for trace in figure.data if trace.showlegend] == ["la-lora", "head-only"]
    assert figure.layout.xaxis.ticktext == ("1", "8", "∞") and figure.layout.xaxis.tickvals == (1, 8, 16)
    assert figure.layout.xaxis2.title.text.startswith("clients")
    json.loads(figure.to_json())


def test_head_only_has_one_accuracy_for_all_rates_and_its_own_at_each_epsilon():
    assert figures_ablation.head_line(HEAD, "learning_rate", [0.5, 1.0]) == {"x": [0.25, 1.0], "y": [0.45, 0.45]}
    line = figures_ablation.head_line({1.0: [0.3, 0.5], math.inf: [0.9]}, "epsilon", [1.0, math.inf])
    assert line == {"x": [1.0, 2.0], "y": [0.4, 0.9]}


def test_each_linear_model_has_a_line_of_its_own_along_the_whole_axis():
    """`linear` is ahead at ε = 1 and `linear-hog` at ε = 3: still, neither line stops where the other one leads."""
    runs = {}
    for name, epsilon, tuned, told in (
        ("linear", 1.0, 0.8, 0.7),
        ("linear-hog", 1.0, 0.5, 0.4),
        ("linear", 3.0, 0.6, 0.5),
        ("linear-hog", 3.0, 0.9, 0.8),
    ):
        for rate in DIGITS.head_rates:
            runs |= {bare_run(name, rate, epsilon, seed, DIGITS): [tuned] for seed in DIGITS.tuning_seeds}
        first = DIGITS.head_rates[0]  # all rates are as good, so the first one is the best
        runs |= {bare_run(name, first, epsilon, seed, DIGITS): [0.0, told] for seed in (0, 1)}
    found = rivals_along(runs, "epsilon", 0.2, DIGITS)
    assert found["linear"] == {1.0: [0.7, 0.7], 3.0: [0.5, 0.5]}
    assert found["linear-hog"] == {1.0: [0.4, 0.4], 3.0: [0.8, 0.8]}
    assert found["untrained"] == {epsilon: [0.2] for epsilon in DIGITS.axes["epsilon"]}
    assert "untrained" not in rivals_along(runs, "epsilon", math.nan, DIGITS)
    assert rivals_along(runs, "clients", math.nan, DIGITS)["linear"] == {DIGITS.usual.clients: [0.5, 0.5]}
