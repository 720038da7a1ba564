"""The sharpness lesson's figures: what is in them, and in which place."""

import json

import torch

from lalora_kit.figures import sharpness as figures_sharpness
from lalora_kit.figures.common import look
from lalora_kit.lessons.sharpness import Line, Surface

WAY = Line((0.0, 0.5, 1.0), (3.0, 1.0, 2.0), (0.1, 0.5, 0.2))


def test_way_figure_draws_each_way_in_its_own_dash():
    figure = figures_sharpness.way_figure({"one": WAY, "other": WAY}, "dp-lora", "title")
    assert [trace.line.dash for trace in figure.data] == ["solid", "dash"]
    assert figure.data[0].y == WAY.losses and figure.data[0].line.color == look("dp-lora")["line"]["color"]
    assert figure.layout.xaxis.title.text and figure.layout.yaxis.title.text
    json.loads(figure.to_json())


def test_ruler_figure_marks_one_rescaling_at_a_time():
    factors, weights, loss = (dict.fromkeys((0.5, 1.0, 2.0), v) for v in (10.0, 3.0, 1.5))
    figure = figures_sharpness.ruler_figure(factors, weights, loss)
    assert [trace.visible for trace in figure.data[2:]] == [False, True, False]
    [slider] = figure.layout.sliders
    assert slider.active == 1 and slider.steps[2].args[0]["visible"] == [True, True, False, False, True]
    assert figure.layout.title.text.startswith("c = 1:")
    json.loads(figure.to_json())


def test_slices_share_one_scale():
    planes = {str(k): Surface(torch.tensor([-1.0, 1.0]), torch.tensor([[0.0, 1.0], [2.0, k]])) for k in (3.0, 5.0)}
    figure = figures_sharpness.slices_figure(planes, "title")
    assert {(trace.zmin, trace.zmax) for trace in figure.data} == {(0.0, 5.0)}
    assert figure.data[0].z[1][0] == 1.0, "x is the first direction"
    json.loads(figure.to_json())
