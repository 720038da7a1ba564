"""The coupling lesson's figures: what is in them, and in which place."""

import json

import numpy as np

from lalora_kit.figures import coupling as figures_coupling
from lalora_kit.figures.common import look

MOVES = {rate: (np.full((2, 3), rate), np.full((2, 3), rate + rate**2)) for rate in (0.1, 0.2)}


def test_move_figure_shows_one_rate_at_a_time():
    figure = figures_coupling.move_figure(MOVES, {0.1: 0.1, 0.2: 0.2})
    assert [trace.visible for trace in figure.data] == [True] * 3 + [False] * 3
    assert np.allclose(figure.data[2].z, 0.01) and np.allclose(figure.data[5].z, 0.04)
    [slider] = figure.layout.sliders
    assert slider.steps[1].args[0]["visible"] == [False] * 3 + [True] * 3
    assert slider.steps[1].args[1]["title.text"] == "Learning rate 0.2: surprise 20.0%"
    json.loads(figure.to_json())


def test_surprise_figure_has_a_place_for_each_model_and_one_legend():
    curves = {"together": [0.1, 0.2], "B in turn": [0.0, 0.0], "A in turn": [0.0, 0.0]}
    figure = figures_coupling.surprise_figure({"matrix": curves, "digits": curves}, [1.0, 2.0], "title")
    assert [trace.xaxis for trace in figure.data] == ["x"] * 3 + ["x2"] * 3
    assert [trace.showlegend for trace in figure.data] == [True] * 3 + [False] * 3
    assert figure.data[0].line.color == look("dp-lora")["line"]["color"]
    assert figure.layout.xaxis2.title.text == "learning rate η"


def test_rounds_figure_dots_what_has_no_noise():
    kinds = {"without noise": [0.1, 0.2], "noised": [0.3, 0.4]}
    figure = figures_coupling.rounds_figure(kinds, {"dp-lora": kinds, "la-lora-nofilter": kinds}, "title")
    assert [trace.line.dash for trace in figure.data] == ["dot", "solid", "dot", "solid", "dot", "dash"]
    assert list(figure.data[1].x) == [1, 2] and figure.data[1].xaxis == "x" and figure.data[2].xaxis == "x2"
    json.loads(figure.to_json())
