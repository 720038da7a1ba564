"""Figures: the same look for the same method everywhere, and nothing drawn that was not handed in."""

import itertools
import math

import numpy as np
import pytest

from lalora_kit import METHODS
from lalora_kit.figures import common as figures
from tests.fakes import fake_round


def test_every_method_has_a_look_of_its_own():
    assert set(METHODS) == set(figures.LOOKS)
    for one, other in itertools.combinations(figures.LOOKS, 2):
        assert figures.LOOKS[one][0] != figures.LOOKS[other][0]
        assert figures.LOOKS[one][2] != figures.LOOKS[other][2]


def test_a_methods_own_filter_variant_is_dashed():
    dashes = {name: dash for name, (_, dash, _) in figures.LOOKS.items()}
    assert [name for name, dash in dashes.items() if dash == "dash"] == ["la-lora-nofilter", "dp-lora-filter"]


def test_a_method_of_ones_own_can_be_drawn():
    assert figures.look("mine")["line"]["dash"] == "dot"


def test_accuracy_figure_draws_the_records():
    runs = {"la-lora": [fake_round(1, 0.2), fake_round(2, 0.4)], "head-only": [fake_round(1, 0.3)]}
    figure = figures.accuracy_figure(runs, "a finding", chance=0.1)
    assert [trace.name for trace in figure.data] == ["la-lora", "head-only"]
    assert list(figure.data[0].x) == [1, 2] and list(figure.data[0].y) == [0.2, 0.4]
    assert figure.layout.title.text == "a finding"


def test_a_band_of_the_grid_lies_under_the_runs_that_have_one():
    runs = {"la-lora": [fake_round(1, 0.2), fake_round(2, 0.4)], "head-only": [fake_round(1, 0.3)]}
    shipped = {"la-lora": [[0.1, 0.5], [0.3, 0.4], [0.2, 0.2]], "head-only": []}
    figure = figures.accuracy_figure(runs, "a finding", shipped=shipped)
    low, high, none, _ = figure.data[2:]
    assert (low.x, low.y, high.y) == ((1, 2), (0.1, 0.2), (0.3, 0.5)) and not none.x
    assert [trace.name for trace in figure.data if trace.showlegend] == ["la-lora, 3 seeds"]
    assert low.zorder is high.zorder is None, "with layers of traces plotly leaves out the axes' lines"


def test_curves_of_seeds_are_read_round_by_round():
    assert figures.by_round([[0.1, 0.5], [0.3, 0.4]]) == {1: (0.1, 0.3), 2: (0.5, 0.4)} and figures.by_round([]) == {}


@pytest.mark.parametrize("epsilon", [0.1, 3.0, math.inf])
def test_odds_figure_marks_epsilon(epsilon):
    figure = figures.odds_figure([(0.1, 0.52), (10.0, 0.99)], epsilon, 0.9)
    assert figure.data[1].y == (0.9,)
    assert ("∞" in figure.layout.title.text) == math.isinf(epsilon)
    assert math.isfinite(figure.data[1].x[0])


def test_leak_figure_has_a_step_for_each_noise_and_shows_one_reading_at_a_time():
    pictures = {sigma: np.eye(8) for sigma in (0.0, 0.1, 1.0)}
    figure = figures.leak_figure(np.eye(8), pictures, dict.fromkeys(pictures, 0.5), dict.fromkeys(pictures, 2.0))
    steps = figure.layout.sliders[0].steps
    assert [step.label for step in steps] == ["0", "0.1", "1"]
    for step in steps:
        shown = step.args[0]["visible"]
        assert len(shown) == len(figure.data) and sum(shown) == 2 and shown[0]
