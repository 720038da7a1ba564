"""Figures of the ablation: bands that hold what they were given, and a panel that always has the same traces."""

import json

import pytest

from lalora_kit import figures_ablation, grid
from lalora_kit.figures_ablation import RateView, rates_figure
from lalora_kit.methods import METHODS

LINES = {"la-lora": {0.5: [0.4, 0.6], 1.0: [0.7]}, "dp-lora × 0.5": {0.5: [0.3, 0.5], 1.0: [0.2, 0.2]}}
HEAD = {0.5: [0.4, 0.5], 1.0: [0.4, 0.5]}


def test_every_line_of_the_grid_has_a_look_and_no_two_the_same():
    looks = [figures_ablation.series_look(name) for name in grid.SERIES]
    told = {(look["line"]["color"], look["line"]["dash"], look["marker"]["symbol"]) for look in looks}
    assert len(told) == len(grid.SERIES)
    assert set(figures_ablation.CONTROL_LOOKS) == set(grid.SERIES) - set(METHODS)


def test_a_band_goes_from_the_worst_seed_to_the_best_and_the_line_is_the_mean():
    figure = rates_figure(LINES, HEAD, "a finding", {"la-lora": (0.5, 0.55)})
    low, high, mean = figure.data[:3]
    assert low.y == (0.4, 0.7) and high.y == (0.6, 0.7) and mean.y == (0.5, 0.7)
    assert mean.name == "la-lora (1 to 2 seeds)" and figure.data[5].name == "dp-lora × 0.5 (2 seeds)"
    assert figure.data[6].y == pytest.approx((0.45, 0.45)) and figure.data[6].x == (0.25, 1.0)
    assert figure.data[7].y == (0.55,)


def test_a_line_that_was_not_run_yet_is_said_to_be_so():
    figure = rates_figure({"rolora": {}}, {}, "nothing yet")
    assert [trace.name for trace in figure.data if trace.name] == ["rolora (not run yet)"]
    json.loads(figure.to_json())


@pytest.mark.parametrize("line", [{}, LINES["la-lora"]])
@pytest.mark.parametrize("dots", [[], [("la-lora", 0.5, 0.6), ("rolora", 2.0, 0.1)]])
def test_the_panels_figure_always_has_the_same_traces(line, dots):
    view = RateView("la-lora", "this run", 10, [0.1, 0.2], line, HEAD, [0.5, 1.0], dots=dots)
    figure = figures_ablation.rate_panel_figure(view)
    assert len(figure.data) == 7 and list(figure.data[1].x) == [1, 2]
    assert len(figure.data[6].x) == len(dots)
    assert "20.0%" in figure.layout.title.text
    json.loads(figure.to_json())
    for axis in ("xaxis", "yaxis", "xaxis2"):
        assert figure.layout[axis].title.text
