"""Figures of lessons 10 and 11: what is drawn is what was computed, and each slider's place holds its own numbers."""

import math

import numpy as np
import pytest

from lalora_kit.figures.gallery import averages, reach
from lalora_kit.figures.gallery.averages import AveragesView
from lalora_kit.figures.gallery.reach import ReachView
from lalora_kit.lessons.gallery.reach import WAYS, Reach
from lalora_kit.trial.rivals import Rival

SERVERS = tuple(averages.LOOKS)
RIVALS = [Rival("head-only", 3.0, 4, 1.0, [[0.5, 0.7]]), Rival("untrained", math.nan, 0, math.nan, [[0.4, 0.4]])]


def test_each_place_of_the_slider_holds_its_own_heatmaps():
    rng = np.random.default_rng(0)
    mistakes = {n: {way: rng.standard_normal((3, 4)) / n for way in SERVERS} for n in (1, 4)}
    figure = averages.mistakes_figure(mistakes, ["one", "four"], 1)
    np.testing.assert_allclose(figure.data[0].z, mistakes[4][SERVERS[0]], rtol=5e-3)
    for step, found in zip(figure.layout.sliders[0].steps, mistakes.values(), strict=True):
        np.testing.assert_allclose(step.args[0]["z"][1], found[SERVERS[1]], rtol=5e-3)
    assert len({(trace.zmin, trace.zmax) for trace in figure.data}) == 1, "one scale of colours for all"


def test_lines_are_formulas_and_marks_simulations():
    expected = {"factors": [(1, 1.0), (4, 1 / 16)], "products": [(1, 1.0), (4, 1 / 4)]}
    figure = averages.slopes_figure(expected, expected, "title")
    assert [trace.mode for trace in figure.data] == ["lines", "markers"] * 2
    assert figure.data[0].y == (1.0, 1 / 16) and figure.layout.yaxis.type == "log"


@pytest.mark.parametrize(
    ("draw", "names"),
    [(averages.servers_figure, averages.SERVERS), (reach.runs_figure, reach.METHODS_SHOWN)],
)
def test_accuracies_lie_beside_what_has_no_adapter(draw, names):
    figure = draw({name: [0.3, 0.6] for name in names}, RIVALS, "title")
    assert [trace.name for trace in figure.data[: len(names)]] == list(names)
    assert {"head-only", "untrained"} <= {trace.name for trace in figure.data}
    low, high = figure.layout.yaxis.range
    assert low < 0.3 and high > 0.7, "nothing is outside the picture"


def averages_view(epsilon=3.0):
    points = {way: [(1, 2.0 + i), (4, 1.0 + i)] for i, way in enumerate(SERVERS)}
    return AveragesView(epsilon, 4, 4, False, points, points, {way: 1.0 + i for i, way in enumerate(SERVERS)})


def test_a_view_of_the_averages_and_its_title():
    figure = averages.averages_figure(averages_view(), [1, 4])
    assert len(figure.data) == 4 * len(SERVERS) == len(averages.averages_data(averages_view()))
    assert "nearest is the mean of factors, off by 1" in figure.layout.title.text
    without = averages.averages_data(averages_view(math.inf))
    assert without[1]["x"] == [] and without[3]["x"] == [4.0], "∞ has no place on the axis of ε"


def reaches():
    return {way: Reach(10 * (i + 1), 0.2 * (i + 1), 0.5, 1.0, 0.1) for i, way in enumerate(WAYS)}


def test_reach_moves_with_the_rank():
    figure = reach.reach_figure({1: reaches(), 2: reaches()}, ["one", "two"], 0)
    assert [trace.text[0] for trace in figure.data] == list(reach.LOOKS)
    assert figure.layout.sliders[0].steps[1].args[0]["x"] == [[10 * (i + 1)] for i in range(len(WAYS))]


def test_a_view_of_the_reaches_and_its_title():
    view = ReachView(3.0, 4, 8, reaches(), {way: 1.0 + i for i, way in enumerate(WAYS)})
    figure = reach.reach_panel(view)
    assert len(figure.data) == 2 * len(WAYS) and "Fed-SB has most signal for its noise, 5" in figure.layout.title.text
    endless = ReachView(math.inf, 4, 8, reaches(), dict.fromkeys(WAYS, math.inf))
    assert "no privacy" in reach.reach_title(endless) and reach.reach_data(endless)[-1]["x"] == []


def test_the_gauge_has_its_band_its_control_and_the_clip():
    norms = {0.5: ([2.0, 1.5, 3.0], 4.0), 2.0: ([1.0, 0.5, 1.5], 4.0)}
    figure = reach.gauge_figure(norms, 1.0, "title")
    low, high, median, control = figure.data
    assert (low.y, high.y, median.y, control.y) == ((1.5, 0.5), (3.0, 1.5), (2.0, 1.0), (4.0, 4.0))
    assert figure.layout.shapes[0].y0 == 1.0
