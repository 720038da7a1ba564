"""The panels of lessons 07 and 08: every slider is answered at once, and a run made here is drawn over shipped ones."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lalora_kit.engine.persample import Engine
from lalora_kit.lessons.scale import Owners
from lalora_kit.methods import METHODS
from lalora_kit.panels.lesson.crowd import CrowdPanel, Schedule
from lalora_kit.panels.lesson.pays import PaysPanel, owners_lens
from lalora_kit.panels.live import LiveTraining
from lalora_kit.privacy import Ledger, safe_noise_multiplier
from tests.tiny import FAST, linear_task

START = {"people": 500, "epsilon": 1.0, "rank": 4, "clients": 8}


@pytest.fixture
def crowd():
    numbers = {rank: 100.0 * rank for rank in (1, 4, 16)}
    panel = CrowdPanel(START, Schedule(2000, 16, 1e-5, 1.0), numbers, share=16 / 500, mode="live")
    yield panel
    panel.keep.cancel()
    panel.ahead.join(120)


def test_people_per_client_move_sigma_and_the_noise_in_a_step_at_once(crowd):
    assert crowd.figure.data[3].x == (500,)
    crowd.controls["people"].value = 6250
    sigma = safe_noise_multiplier(1.0, 1e-5, 16 / 6250, 2000)
    assert crowd.figure.data[3].x == (6250,) and crowd.figure.data[3].y == (pytest.approx(sigma),)
    assert crowd.figure.data[4].y == (pytest.approx(sigma * math.sqrt(400 / 8) / 16),)
    assert "People per client went from 500 to 6250: σ is a factor of" in crowd.text.value
    assert f"σ = {sigma:.2f}" in crowd.figure.layout.title.text


@pytest.mark.parametrize(("name", "to", "says"), [("rank", 16, "2 times as large"), ("clients", 32, "a factor of 2")])
def test_rank_and_clients_move_the_step_s_noise_and_not_sigma(crowd, name, to, says):
    before = list(crowd.figure.data[0].y)
    crowd.controls[name].value = to
    assert list(crowd.figure.data[0].y) == before
    assert "σ is as large as it was" in crowd.text.value and says in crowd.text.value


def test_where_the_share_is_the_same_the_noise_falls_as_people_grow(crowd):
    x, y = crowd.figure.data[2].x, crowd.figure.data[2].y
    assert np.asarray(y) * np.asarray(x) == pytest.approx(y[0] * x[0])
    here = crowd.figure.data[1].x.index(500)
    assert y[here] == pytest.approx(crowd.figure.data[1].y[here]), "16 of 500 are that share"


def test_what_the_sliders_may_ask_for_is_worked_out_ahead(crowd):
    crowd.ahead.join(120)
    assert not crowd.ahead.is_alive()
    missed = safe_noise_multiplier.cache_info().misses
    for epsilon in (0.1, 3.0, 10.0):
        crowd.controls["epsilon"].value = epsilon
    assert safe_noise_multiplier.cache_info().misses == missed


def test_without_noise_nothing_is_drawn_and_nothing_is_promised(crowd):
    crowd.controls["epsilon"].value = math.inf
    assert all(not trace.y for trace in crowd.figure.data)
    assert "nothing is promised" in crowd.figure.layout.title.text
    crowd.buttons["Reset"].click()
    assert crowd.figure.data[3].x == (500,)


def owned():
    task = linear_task(samples=40)
    train, test = (replace(s, owners=torch.arange(len(s)) % 5) for s in (task.train, task.test))
    return replace(task, train=train, test=test, owners=tuple("abcde"))


@pytest.fixture
def pays():
    task, settings = owned(), replace(FAST, rounds=2, seed=0)
    clear, noisy = [9] * 5, [4, 6, 8, 9, 9]
    hits = {math.inf: {0: clear, 1: clear}, 1.0: {0: noisy, 1: clear}, 3.0: {0: clear, 1: clear}}
    kept = Owners([1, 2, 3, 4, 5], [10] * 5, hits, {"rank": 4, "clients": 8, "rounds": 6})
    lens = owners_lens(task, Engine(task, settings.scale))
    training = LiveTraining(task, METHODS["la-lora"], settings, ledger=Ledger(), lens=lens)
    panel = PaysPanel(training, kept, mode="live")
    yield panel
    training.stop()
    training.join(30)
    panel.keep.cancel()


def test_the_nearest_shipped_runs_follow_epsilon_at_once_and_are_named(pays):
    assert list(pays.figure.data[3].y) == [0] * 5 and "ε = 3" in pays.figure.layout.title.text
    pays.controls["epsilon"].value = 0.5
    assert list(pays.figure.data[3].y) == pytest.approx([25, 15, 5, 0, 0])
    assert "least text lose 25.0 points" in pays.figure.layout.title.text
    assert "Shipped runs: ε = 1 (the nearest" in pays.text.value and "ε went from 3 to 0.5" in pays.text.value
    pays.controls["epsilon"].value = math.inf
    assert "no noise" in pays.figure.layout.title.text and not pays.training.records, "nothing is trained"


def test_a_run_made_here_is_drawn_when_it_has_ended(pays):
    assert not pays.figure.data[2].x
    pays.training.run()
    assert pays.training.join(60)
    shares = pays.figure.data[2].y
    assert len(shares) == 5 and all(0 <= y <= 1 for y in shares)
    assert list(pays.figure.data[4].y) == pytest.approx([100 * (0.9 - y) for y in shares])
    total = sum(y * n for y, n in zip(shares, np.bincount(owned().test.owners), strict=True)) / len(owned().test)
    assert total == pytest.approx(pays.training.records[-1].accuracy)


def test_what_the_lesson_has_spent_meanwhile_counts(pays):
    other = Ledger()
    twin = LiveTraining(pays.training.task, METHODS["la-lora"], pays.training.start, ledger=other)
    twin.complete()
    pays.spent(other)
    assert "0</b>" not in pays.text.value.split("ε of all runs")[1][:80]
    assert pays.training.total == pytest.approx(other.epsilon(FAST.delta)) and pays.training.total > 0


def test_headless_it_shows_the_shipped_runs_and_trains_nothing(pays, capsys):
    panel = PaysPanel(pays.training, pays.kept, mode="headless")
    panel.show()
    assert not panel.training.records
