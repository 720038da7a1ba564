"""The panel of lesson 01: the rate, ε and clients move surprise and rectangle at once, by the lesson's own formula."""

import math
from dataclasses import replace

import pytest
import torch

from lalora_kit import METHODS, Settings, federated_rounds, load_task
from lalora_kit.lessons.coupling import promised_move
from lalora_kit.panels.lenses import Steps, noise_std, surprise_lens
from lalora_kit.panels.lesson.corner import CornerPanel, sides
from lalora_kit.panels.lesson.moves import went
from lalora_kit.panels.live import LiveTraining
from lalora_kit.privacy import Ledger

SETTINGS = Settings(epsilon=3.0, rank=2, clients=2, rounds=2, local_steps=2, seed=0, max_samples=64)


@pytest.fixture(scope="module")
def made():
    task = load_task("digits")
    steps = Steps(task, task.test.select(torch.arange(16)))
    return task, steps, list(federated_rounds(task, METHODS["dp-lora"], SETTINGS))


@pytest.fixture
def panel(made):
    task, steps, records = made
    training = LiveTraining(
        task, METHODS["dp-lora"], SETTINGS, ledger=Ledger(), first=records, lens=surprise_lens(steps)
    )
    panel = CornerPanel(training, steps, mode="live")
    yield panel
    training.stop()
    panel.keep.cancel()
    for wait in (training._refine, training._restart):
        wait.cancel()


def test_it_draws_what_is_measured(panel, made):
    _, steps, [_, last] = made
    step = steps.of(SETTINGS, last)
    assert panel.figure.data[2].y[1] == pytest.approx(promised_move(last.adapter, step.noised, 0.5).pooled.surprise)
    assert panel.figure.data[0].y[1] == pytest.approx(promised_move(last.adapter, step.quiet, 0.5).pooled.surprise)
    at = sides(last.adapter, step.noised, 0.5)
    assert max(panel.figure.data[5].x) == pytest.approx(at.A + at.dA)
    assert "Ready" in panel.text.value


def test_the_rate_moves_both_sides_at_once_and_says_so(panel):
    before, corner = list(panel.figure.data[2].y), panel.figure.data[5].x
    panel.controls["learning_rate"].value = 2.0
    assert list(panel.figure.data[2].y) == pytest.approx([4 * y for y in before])
    assert panel.figure.data[5].x != corner and panel.figure.layout.xaxis2.range[1] >= max(panel.figure.data[5].x)
    assert "The adapter&#x27;s rate went from 0.5 to 2: the surprise is 4 times as large" in panel.text.value
    assert not panel.training.running
    panel.buttons["Reset"].click()
    assert list(panel.figure.data[2].y) == pytest.approx(before) and "went" not in panel.text.value


def test_epsilon_and_clients_move_the_noise_alone(panel, made):
    task, steps, [_, last] = made
    quiet, noised = list(panel.figure.data[0].y), list(panel.figure.data[2].y)
    panel.controls["epsilon"].value = 0.5
    assert panel.figure.data[2].y[1] > noised[1] and list(panel.figure.data[0].y) == quiet
    std = noise_std(task, panel.training.settings, panel.noise_multiplier())
    expected = promised_move(last.adapter, steps.of(SETTINGS, last).at(std), 0.5).pooled.surprise
    assert panel.figure.data[2].y[1] == pytest.approx(expected)
    panel.controls["epsilon"].value = math.inf
    assert list(panel.figure.data[2].y) == pytest.approx(quiet)
    panel.controls["epsilon"].value = 3.0
    louder = panel.figure.data[2].y[1]
    panel.controls["clients"].value = 8  # each holds fewer people, so its own step is noisier
    assert panel.figure.data[2].y[1] > louder


def test_a_rank_waits_for_a_run(panel):
    before = list(panel.figure.data[2].y)
    panel.controls["rank"].value = 4
    assert list(panel.figure.data[2].y) == before and "Press Run" in panel.text.value
    panel.buttons["Run"].click()
    assert panel.training.join(60) and panel.training.error is None
    assert len(panel.figure.data[2].y) == 2 and list(panel.figure.data[2].y) != before
    assert list(panel.figure.data[1].y) == before, "the run before stays, faint"


def test_headless_leaves_one_figure_and_its_facts(made, capsys, monkeypatch):
    task, steps, records = made
    shown = []
    monkeypatch.setattr("lalora_kit.panels.panel.pio.show", lambda figure, renderer: shown.append(figure))
    training = LiveTraining(
        task, METHODS["dp-lora"], SETTINGS, ledger=Ledger(), first=records[:1], lens=surprise_lens(steps)
    )
    CornerPanel(training, steps, mode="headless").show()
    assert len(shown) == 1 and "surprise, noised" in capsys.readouterr().out


def test_a_run_without_noise_can_be_asked_for_another_epsilon(made):
    _, steps, records = made
    step = steps.of(SETTINGS, records[0])
    assert all(torch.equal(step.at(0.0)[key], step.quiet[key]) for key in step.quiet)
    silent = replace(records[0], noise_multiplier=0.0)
    again = steps.of(replace(SETTINGS, epsilon=math.inf), silent)
    assert again.std == 0.0 and all(torch.allclose(again.unit[key], step.unit[key]) for key in step.unit)


def test_no_move_is_no_sentence():
    assert went({"epsilon": 3.0}, {"epsilon": 3.0}) == ""
