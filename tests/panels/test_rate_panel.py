"""The ablation's panel: a method is chosen, a run ends, a dot stays in the grid."""

import math
import time
from dataclasses import replace

import pytest

from lalora_kit import METHODS, Settings
from lalora_kit.methods.controls import CONTROLS
from lalora_kit.panels import live
from lalora_kit.panels.lesson.rate import RatePanel, accuracies, rate_slider
from lalora_kit.panels.live import LiveTraining
from lalora_kit.privacy import Ledger
from lalora_kit.trial import grid
from lalora_kit.trial.designs import DIGITS
from tests.fakes import fake_round

SETTINGS = Settings(epsilon=3.0, rank=2, clients=4, rounds=3, seed=0)
RUNS = {grid.cell("rolora", grid.RATE, 0.5, seed, DIGITS): [0.2, accuracy] for seed, accuracy in ((0, 0.3), (1, 0.5))}
RUNS[grid.cell("rolora", "epsilon", math.inf, 0, DIGITS)] = [0.6, 0.8]


def make(task, mode):
    training = LiveTraining(task, METHODS["la-lora"], SETTINGS, ledger=Ledger(), first=[fake_round(1, 0.9)])
    return RatePanel(training, RUNS, {**METHODS, **CONTROLS}, [("dp-lora", SETTINGS, 0.4)], mode=mode)


@pytest.fixture
def panel(task, loop):
    panel = make(task, "live")
    yield panel
    panel.training.stop()
    for _ in range(20):
        loop.gate.release()
    assert panel.training.join(20)
    panel.keep.cancel()


def test_a_run_that_ends_leaves_its_dot_in_the_grid_of_its_method(panel, loop):
    panel.controls["method"].value = "rolora"
    panel.controls["learning_rate"].value = 2.0
    assert panel.figure.data[1].y == (0.9,), "nothing has been trained yet"
    panel.buttons["Run"].click()
    for _ in range(3):
        loop.gate.release()
    assert panel.training.join(20)
    assert loop.started[-1].learning_rate == 2.0
    assert panel.figure.data[6].x == (0.5, 2.0) and panel.dots[-1][0] == "rolora"
    assert panel.figure.data[6].marker.opacity == (0.35, 0.35), "rank 2 is not the grid's"
    assert panel.figure.data[4].y == (0.4,) and "rolora (2 seeds)" in panel.figure.data[4].name
    assert panel.figure.layout.title.text.startswith("rolora: 3.0%")
    assert panel.figure.data[0].y == (0.9,) and "la-lora" in panel.figure.data[0].name


def test_the_grid_is_the_first_picture_of_what_is_chosen(panel):
    assert not panel.figure.data[9].x and "no run of la-lora at these settings" in panel.text.value
    panel.controls["method"].value = "rolora"
    assert panel.figure.data[4].y == (0.4,) and panel.figure.data[1].y == (0.9,)
    assert panel.figure.data[9].y == (0.2, 0.4), "three rounds at rank 2 are not the grid's: the nearest are shown"
    assert "Not at these settings but the nearest." in panel.text.value
    panel.training.settings = replace(panel.training.settings, rounds=10)
    for name, value in (("rank", 4), ("clients", 8)):
        panel.controls[name].value = value
    assert panel.figure.data[9].y == (0.2, 0.4) and "2 seeds of rolora" in panel.text.value
    assert "but the nearest" not in panel.text.value
    panel.controls["epsilon"].value = math.inf
    assert panel.figure.data[9].y == (0.6, 0.8) and "1 seed of rolora at rate 0.5, ε ∞" in panel.text.value


def test_another_axis_is_shown_and_trains_nothing(panel, loop):
    panel.controls["method"].value = "rolora"
    panel.buttons["Run"].click()
    for _ in range(3):
        loop.gate.release()
    assert panel.training.join(20)
    panel.controls["axis"].value = "epsilon"
    assert panel.figure.layout.xaxis2.ticktext == ("1", "3", "8", "∞")
    assert panel.figure.data[4].x == (3.0, 16.0) and panel.figure.data[4].y == (0.4, 0.8)
    assert panel.figure.data[6].x == (3.0, 3.0)
    assert panel.training._restart._timer is None and len(loop.started) == 1
    panel.buttons["Reset"].click()
    assert panel.figure.layout.xaxis2.ticktext[0] == "0"


def test_a_stopped_run_leaves_no_dot(panel, loop):
    panel.buttons["Run"].click()
    panel.buttons["Stop"].click()
    assert len(panel.dots) == 1 and "Stopped" in panel.text.value
    panel.controls["method"].value = "rolora"
    panel.buttons["Run"].click()  # the run cut short does not push out the whole one
    assert panel.figure.data[0].y == (0.9,) and panel.figure.data[0].name == "before: la-lora"
    panel.buttons["Stop"].click()
    panel.buttons["Reset"].click()
    assert panel.figure.data[1].y == (0.9,) and "Ready" in panel.text.value


def test_a_stopped_run_stays_when_the_next_seed_runs(panel, loop):
    panel.buttons["Run"].click()
    for _ in range(3):
        loop.gate.release()
    assert panel.training.join(20)
    panel.buttons["Next seed"].click()
    loop.gate.release()
    deadline = time.monotonic() + 20
    while not panel.training.records and time.monotonic() < deadline:
        time.sleep(0.01)
    panel.buttons["Stop"].click()
    stopped = [r.accuracy for r in panel.training.records]
    panel.buttons["Next seed"].click()
    assert stopped and list(panel.figure.data[10].y[: len(stopped)]) == stopped, "faint, among the other seeds"
    assert len(panel.figure.data[0].y) == 3, "and the whole run before it is not pushed out"


def test_a_move_says_what_changed_and_what_the_shipped_runs_say_to_it(panel):
    panel.controls["method"].value = "rolora"
    assert "method la-lora → rolora." in panel.text.value
    panel.controls["epsilon"].value = math.inf
    said = "ε 3 → ∞: the nearest shipped runs&#x27; mean rises from 40.0% to 80.0%."
    assert said in panel.text.value
    assert panel.figure.data[14].x == (0.5, 0.5), "the slider's place on the right"
    panel.controls["learning_rate"].value = 2.0
    assert panel.figure.data[14].x == (2.0, 2.0)
    assert "nearest shipped runs stay the same (mean 80.0%)." in panel.text.value
    panel.buttons["Reset"].click()
    assert "→" not in panel.text.value


def test_the_legend_shows_no_method_for_the_dots_of_all(panel):
    dots, key = panel.figure.data[6], panel.figure.data[15]
    assert not dots.showlegend and key.name.startswith("runs made here") and key.marker.color == "white"


def test_a_failure_is_shown(panel, monkeypatch):
    monkeypatch.setattr(live, "outlook", lambda *_, **__: 1 / 0)
    panel.controls["epsilon"].value = 0.1
    assert "ZeroDivisionError" in panel.error.value and "Failed" in panel.text.value


def test_headless_leaves_one_figure_and_text(task, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("lalora_kit.panels.panel.pio.show", lambda figure, renderer: shown.append(figure))
    make(task, "headless").show()
    assert len(shown) == 1 and "ε of this run" in capsys.readouterr().out


def test_the_rate_slider_takes_a_value_off_the_grid():
    assert rate_slider(0.3, [0.5]).value == 0.3 and rate_slider(8, [0.5]).value == 8.0


def test_rounds_that_were_not_evaluated_are_none():
    assert accuracies([fake_round(1, math.nan), fake_round(2, 0.5)]) == [None, 0.5]
