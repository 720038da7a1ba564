"""The sharpness lesson's figures: what is in them, and in which place."""

import itertools
import json
import math
from dataclasses import replace

import torch

from lalora_kit.figures import sharpness as figures_sharpness
from lalora_kit.figures.common import look
from lalora_kit.figures.pictures.landscape import SCALE, Way, extent, landscape
from lalora_kit.figures.sharpness import HeightView, height_data, height_figure, height_title
from lalora_kit.lessons.intruders import Intruders

WAYS = {
    "dp-lora": Way([(0.0, 0.0), (1.0, 0.1), (4.0, 0.0)], [2.3, 2.2, 2.0], [((4.2, 0.5), 3.0), ((3.8, -0.5), 2.9)]),
    "la-lora": Way([(0.0, 0.0), (0.2, 1.0)], [2.3, 1.9]),
}
VIEW = HeightView(
    epsilon=3.0, rank=4, clients=8, beta=0.3, rounds=6, forecast=1.0, measured=[(1, 1.1), (2, 1.4)], before=[],
    along=([(0.3, 1.0), (1.0, 0.5)], [(0.3, 0.8), (1.0, 0.2)], [(0.3, 0.4), (1.0, 0.4)]),
)  # fmt: skip


def test_the_map_holds_both_ways_the_average_and_the_clients():
    (x0, x1), (y0, y1) = extent(WAYS)
    assert x0 < 0 and x1 > 4.2 and y0 < -0.5 and y1 > 1.0
    losses = torch.tensor([[2.0, 3.0], [1.0, 50.0], [2.0, 2.5]])
    figure = landscape([x0, 2.0, x1], [y0, y1], losses, WAYS, "title")
    ground, clients, dp, la = figure.data
    assert ground.z[1][0] == 3.0 and len(ground.z) == 2, "x is the first direction"
    assert ground.zmin == 1.0 and ground.zmax < 50, "one far point does not take all colours"
    assert list(clients.customdata) == [3.0, 2.9] and list(clients.x) == [4.2, 3.8]
    assert list(dp.x) == [0.0, 1.0, 4.0] and dp.marker.size[-1] > dp.marker.size[0], "the average is the large mark"
    assert [trace.line.color for trace in (dp, la)] == [look(name)["line"]["color"] for name in WAYS]
    json.loads(figure.to_json())


def test_the_map_darkens_with_the_loss_so_that_it_prints_in_grey():
    def grey(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    shades = [grey(colour) for _, colour in SCALE]
    assert all(pale > dark + 40 for pale, dark in itertools.pairwise(shades))


def test_the_panel_draws_measured_and_forecast_heights():
    figure = height_figure(VIEW)
    assert len(figure.data) == 7
    assert list(figure.data[2].y) == [1.1, 1.4] and list(figure.data[0].y) == [1.0] == list(figure.data[5].y)
    assert list(figure.data[5].x) == [0.3] and list(figure.data[6].y) == [0.4, 0.4]
    assert len({trace.line.dash for trace in (figure.data[3], figure.data[4], figure.data[6])}) == 3
    assert "1.00 nats above their average" in figure.layout.title.text
    nowhere = replace(VIEW, forecast=math.nan)
    assert height_data(nowhere)[5]["x"] == [] and "no such split" in height_title(nowhere)


def test_ruler_figure_marks_one_rescaling_at_a_time():
    factors, weights, loss = (dict.fromkeys((0.5, 1.0, 2.0), v) for v in (10.0, 3.0, 1.5))
    figure = figures_sharpness.ruler_figure(factors, weights, loss)
    assert [trace.visible for trace in figure.data[2:]] == [False, True, False]
    [slider] = figure.layout.sliders
    assert slider.active == 1 and slider.steps[2].args[0]["visible"] == [True, True, False, False, True]
    assert figure.layout.title.text.startswith("c = 1:")
    json.loads(figure.to_json())


def test_controls_are_told_apart_without_a_colour():
    found = [Intruders(torch.tensor([0.2, 0.9]), torch.ones(2), torch.eye(2), torch.eye(2))]
    figure = figures_sharpness.intruders_figure({"dp-lora": found, "smaller": found, "silent": found}, "title")
    assert len({(trace.line.dash, trace.marker.symbol) for trace in figure.data}) == 3
    assert figure.data[0].y[-1] == 2 and figure.data[0].y[0] == 0
