"""The coupling lesson's figures: what is in them, and in which place."""

import json
import math
import re

import pytest

from lalora_kit.figures import coupling as figures_coupling
from lalora_kit.figures.common import look
from lalora_kit.figures.coupling import CornerView
from lalora_kit.figures.pictures.corner import Sides, corner_picture
from lalora_kit.trial.rivals import Rival

SIDES = Sides(0.2, 0.1, 0.1, 0.05)


def view(sides=SIDES, **about):
    points = [(1, 0.5), (2, 0.4)] if sides else []
    return CornerView(16.0, 3.0, 10, sides, points, [(x, y / 2) for x, y in points], [], **about)


def test_surprise_figure_holds_a_line_for_each_way():
    curves = {"noised": [0.1, 0.2], "without noise": [0.05, 0.1], "B in turn": [0.0, 0.0], "A in turn": [0.0, 0.0]}
    figure = figures_coupling.surprise_figure(curves, [1.0, 2.0], "title")
    assert [trace.name for trace in figure.data] == [
        "together, noised", "together, without noise", "B in turn", "A in turn"
    ]  # fmt: skip
    assert figure.data[0].line.color == look("dp-lora")["line"]["color"] and figure.data[1].line.dash == "dot"
    assert figure.layout.xaxis.title.text == "adapter's rate η"


def test_rounds_figure_dots_what_has_no_noise():
    figure = figures_coupling.rounds_figure({"noised": [0.3, 0.4], "without noise": [0.1, 0.2]}, "title")
    assert [trace.line.dash for trace in figure.data] == ["solid", "dot"] and list(figure.data[1].x) == [1, 2]


def test_equal_rate_figure_lays_the_baselines_across():
    lines = {"dp-lora": {1.0: [0.8, 0.9], 16.0: [0.1]}, "la-lora": {1.0: [0.7], 16.0: [0.8]}}
    found = [Rival("head-only", 3.0, 4, 4.0, [[0.7]]), Rival("untrained", math.nan, 0, math.nan, [[0.5]])]
    figure = figures_coupling.equal_rate_figure(lines, found, "title")
    head, guess = figure.data[-2:]
    assert (head.name, guess.name) == ("head-only 70.0%", "untrained 50.0%") and head.line.dash != guess.line.dash
    assert list(head.y) == [0.7, 0.7] and list(head.x) == [1.0, 16.0]
    assert list(figure.layout.xaxis.ticktext) == ["1", "16"], "no place for a rate of zero"


def test_the_corner_is_where_both_moves_meet():
    data = figures_coupling.corner_data(view())
    assert len(data) == 7 and [one["name"] for one in data][3] == "B·A now"
    corner = data[5]
    assert min(corner["x"]) == pytest.approx(0.2) and max(corner["x"]) == pytest.approx(0.3)
    assert min(corner["y"]) == pytest.approx(0.1) and max(corner["y"]) == pytest.approx(0.15)
    [low, high] = figures_coupling.corner_frame(view())["xaxis2"]["range"]
    assert low == 0 and high > 0.3, "all of it is in the frame"
    assert "40%" in figures_coupling.corner_title(view())


@pytest.mark.parametrize("sides", [SIDES, None])
def test_the_panels_figure_always_has_the_same_traces(sides):
    figure = figures_coupling.corner_figure(view(sides))
    assert len(figure.data) == 7
    json.loads(figure.to_json())


def test_the_picture_draws_what_it_says():
    assert SIDES.corner == pytest.approx(0.5)  # 0.005 over 0.01, the size of either strip
    picture = corner_picture(SIDES, 0.08, "a finding", ("left", "right"))
    assert "50%" in picture.alt and "0.08" in picture.alt
    corners = re.findall(
        r"<rect x='[\d.]+' y='[\d.]+' width='([\d.]+)' height='([\d.]+)'[^>]*fill='#c0392b'", picture.body
    )
    assert len(corners) == 1, "in turn there is none"
    width, height = map(float, corners[0])
    assert width / height == pytest.approx(2, rel=0.01)
    ways = re.findall(r"points='([^']+)'", picture.body)
    assert [len(way.split()) for way in ways] == [2, 3], "one goes straight, the other in two steps"
    assert picture.body.count("moves'") >= 6, "who asks for less motion sees it still"
