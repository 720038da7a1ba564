"""The figure of the ablation's panel: always the same traces, on the axis that was asked for."""

import json
import math

import pytest

from lalora_kit.figures.rate import Dot, RateView, rate_panel_figure

LINE = {0.5: [0.4, 0.6], 1.0: [0.7]}
HEAD = {0.5: [0.4, 0.5], 1.0: [0.4, 0.5]}
DOTS = [Dot("la-lora", 0.5, 0.6, "one"), Dot("rolora", 32.0, 0.1, "two", comparable=False)]


@pytest.mark.parametrize("line", [{}, LINE])
@pytest.mark.parametrize("dots", [[], DOTS])
@pytest.mark.parametrize("shipped", [[], [[0.1, 0.2], [0.3, 0.4]]])
def test_the_figure_always_has_the_same_traces(line, dots, shipped):
    view = RateView("la-lora", "this run", 10, [0.1, 0.2], line, HEAD, [0.5, 1.0], dots=dots, shipped=shipped)
    figure = rate_panel_figure(view)
    assert len(figure.data) == 16 and list(figure.data[1].x) == [1, 2]
    assert len(figure.data[6].x) == len(dots) and list(figure.data[9].x) == [1, 2] * bool(shipped)
    assert "20.0%" in figure.layout.title.text
    json.loads(figure.to_json())
    for axis in ("xaxis", "yaxis", "xaxis2"):
        assert figure.layout[axis].title.text


def test_every_dot_is_inside_the_axis_and_what_does_not_compare_is_faint():
    figure = rate_panel_figure(RateView("la-lora", "", 10, [], LINE, HEAD, [0.5, 1.0], dots=DOTS))
    low, high = figure.layout.xaxis2.range
    assert low < math.log10(0.25) and high > math.log10(32.0)
    assert figure.data[6].marker.opacity == (1.0, 0.35)
    assert figure.data[6].marker.size == 13, "what changes leaves the rest of the look alone"


def test_another_axis_has_its_own_ticks_and_a_place_for_infinity():
    line = {1.0: [0.2], math.inf: [0.9]}
    dots = [Dot("la-lora", math.inf, 0.8, "no noise")]
    view = RateView("la-lora", "", 10, [], line, line, [1.0, 3.0, math.inf], axis="epsilon", dots=dots)
    figure = rate_panel_figure(view)
    assert figure.layout.xaxis2.ticktext == ("1", "3", "∞") and "ε" in figure.layout.xaxis2.title.text
    assert figure.data[6].x == (6.0,), "a dot at infinity stands at its tick"
    assert figure.data[4].x == (1.0, 6.0) and figure.data[4].x[1] == figure.layout.xaxis2.tickvals[2]


def test_a_round_that_was_not_evaluated_has_no_point_and_runs_stay_apart():
    run = [None, 0.3, None]
    view = RateView("la-lora", "", 3, run, LINE, HEAD, [0.5, 1.0], previous=run, others=[run, [0.1, None, 0.2]])
    figure = rate_panel_figure(view)
    assert [(figure.data[at].x, figure.data[at].y) for at in (0, 1)] == [((2,), (0.3,))] * 2
    assert figure.data[10].y == (0.3, None, 0.1, 0.2, None) and "not evaluated after 3" in figure.layout.title.text
