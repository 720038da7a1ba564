"""The figure of a training's panel: always the same traces, and nothing drawn that was not handed in."""

import json
import math

import pytest

from lalora_kit.figures.common import accuracy_figure
from lalora_kit.figures.training import TrainingView, training_figure
from lalora_kit.lessons.lesson import Outlook
from tests.fakes import fake_round

OUTLOOK = Outlook(3.0, 2.9, True, 1.02, 0.95, [(0.1, 23.0), (1.0, 2.8), (10.0, 0.45)])


@pytest.mark.parametrize("records", [[], [fake_round(1)], [fake_round(t) for t in range(1, 11)]])
@pytest.mark.parametrize("outlook", [OUTLOOK, Outlook(math.inf, 0.0, True, 0.0, 1.0, OUTLOOK.curve)])
@pytest.mark.parametrize("shipped", [[], [[0.1, 0.2]], [[0.1, 0.2], [0.3, 0.1]]])
def test_training_figure_always_has_the_same_traces(records, outlook, shipped):
    figure = training_figure(TrainingView("la-lora", outlook, records, 10, shipped=shipped))
    assert len(figure.data) == 13, "the last three are baselines, drawn or not"
    assert list(figure.data[2].x) == [r.round for r in records]
    assert len(figure.data[5].x) == math.isfinite(outlook.epsilon)
    assert list(figure.data[8].x) == [1, 2] * bool(shipped)
    json.loads(figure.to_json())


def test_the_band_and_other_seeds_lie_on_the_left():
    others = [[fake_round(1, 0.5), fake_round(2, 0.6)], [fake_round(1, 0.7)]]
    view = TrainingView("la-lora", OUTLOOK, [], 2, others=others, shipped=[[0.1, 0.2], [0.3, 0.1]])
    low, high, mean, apart = training_figure(view).data[6:10]
    assert low.y == (0.1, 0.1) and high.y == (0.3, 0.2) and mean.y == pytest.approx((0.2, 0.15))
    assert "2 seeds" in mean.name and apart.y == (0.5, 0.6, None, 0.7, None), "None breaks the line between two runs"
    assert {trace.xaxis for trace in (low, high, mean, apart)} == {"x"}


def test_every_axis_has_a_title():
    figure = training_figure(TrainingView("la-lora", OUTLOOK, [fake_round(1)], 10))
    for axis in ("xaxis", "yaxis", "xaxis2", "yaxis2"):
        assert figure.layout[axis].title.text


def test_a_round_that_was_not_evaluated_has_no_point_and_the_line_goes_on():
    records = [fake_round(1, 0.5), fake_round(2, math.nan), fake_round(3, 0.7), fake_round(4, math.nan)]
    figure = training_figure(TrainingView("la-lora", OUTLOOK, records, 10))
    assert (figure.data[2].x, figure.data[2].y) == ((1, 3), (0.5, 0.7))
    assert "not evaluated after 4 rounds" in figure.layout.title.text and "NaN" not in figure.to_json()
    line = accuracy_figure({"la-lora": records}, "title").data[0]
    assert (line.x, line.y) == ((1, 3), (0.5, 0.7))
