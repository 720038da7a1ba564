"""Baselines beside a panel's run: their lines carry names, and the text says whether the adapter pays."""

from __future__ import annotations

import math

import pytest

from lalora_kit import METHODS, Settings
from lalora_kit.figures.pictures.across import RIVAL_LINES, rival_lines
from lalora_kit.lessons.lens import Lens
from lalora_kit.panels.live import LiveTraining
from lalora_kit.panels.widgets import TrainingPanel, against
from lalora_kit.privacy import Ledger
from lalora_kit.trial import rivals
from lalora_kit.trial.rivals import Rival
from tests.fakes import fake_round

SETTINGS = Settings(epsilon=3.0, rank=2, clients=4, rounds=3, seed=0)
FOUND = [
    Rival("head-only", 3.0, 8, 1.0, [[0.1, 0.4], [0.1, 0.5]]),
    Rival("linear-hog", 3.0, 8, 0.5, [[0.1, 0.8], [0.1, 0.9]]),
    Rival("untrained", math.nan, 0, math.nan, [[0.3, 0.3]]),
]


@pytest.fixture(autouse=True)
def shipped(monkeypatch):
    asked = []
    monkeypatch.setattr(rivals, "nearest", lambda *place: asked.append(place) or FOUND)
    return asked


def training(task, accuracy, rounds=3, **more):
    records = [fake_round(rounds, accuracy)]
    return LiveTraining(task, METHODS["la-lora"], SETTINGS, ledger=Ledger(), first=records, **more)


@pytest.mark.parametrize(
    ("accuracy", "said"), [(0.95, []), (0.85, ["linear-hog (85.0%) is level with la-lora (85.0%)"]),
                           (0.1, ["head-only (45.0%) is ahead of la-lora (10.0%)", "linear-hog", "untrained"])]
)  # fmt: skip
def test_a_run_that_has_ended_is_held_against_them(task, accuracy, said):
    first, *sentences = against(training(task, accuracy), FOUND)
    assert first.startswith("Beside it, from shipped runs (ε 3, 8 clients, 2 rounds, 2 seeds): head-only 45.0%")
    assert len(sentences) == len(said) and all(map(str.startswith, sentences, said))
    pays = {"level": "the adapter is not shown to pay over it", "ahead": "the adapter does not pay over it"}
    assert all(pays[line.split(") is ")[1].split()[0]] in line for line in sentences)


def test_a_run_under_way_is_judged_by_nobody(task):
    assert len(against(training(task, 0.1, rounds=2), FOUND)) == 1


def test_the_panel_draws_a_named_line_for_each_and_asks_at_the_sliders(task, shipped, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("lalora_kit.panels.panel.pio.show", lambda figure, renderer: shown.append(figure))
    TrainingPanel(training(task, 0.1), mode="headless").show()
    lines = shown[0].data[-RIVAL_LINES:]
    assert [line.text[-1] for line in lines] == ["head-only 45.0%", "linear-hog 85.0%", "untrained 30.0%"]
    assert [(line.y[0], line.y[2]) for line in lines] == [pytest.approx((y, y)) for y in (0.45, 0.85, 0.3)]
    assert len({line.line.dash for line in lines}) == 3 and len({line.line.color for line in lines}) == 1
    assert shipped[0] == ("digits", 3.0, 4) and "linear-hog (85.0%) is ahead of la-lora" in capsys.readouterr().out


def test_another_lens_has_no_baselines_and_fewer_are_no_gap(task, shipped):
    other = Lens(lambda s, r: None, lambda r, seen: "", axis="something else")
    assert against(training(task, 0.1, lens=other), FOUND) == []
    assert len(rival_lines(FOUND[:1], (0, 3))) == len(rival_lines([], (0, 3))) == RIVAL_LINES
