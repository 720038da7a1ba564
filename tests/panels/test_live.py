"""Live training without widgets: what moves, restarts, stops, fails, and what it costs."""

import pytest

from lalora_kit import METHODS, Settings
from lalora_kit.panels.live import LiveTraining
from lalora_kit.privacy import Ledger
from tests.fakes import fake_round, until

SETTINGS = Settings(epsilon=3.0, rank=2, clients=4, rounds=3, seed=0)


@pytest.fixture
def training(task, loop):
    training = LiveTraining(task, METHODS["la-lora"], SETTINGS, ledger=Ledger(), first=[fake_round(1, 0.9)])
    yield training
    training.stop()
    for _ in range(50):
        loop.gate.release()
    assert training.join(20)


def test_the_first_run_waits_for_run(training, loop):
    training.move({"epsilon": 0.5, "rank": 8})
    assert training.outlook.epsilon == 0.5 and not training.outlook.tight
    until(lambda: training.outlook.tight)
    assert not loop.started and training.records[0].accuracy == 0.9


def test_a_run_grows_round_by_round_and_settles(training, loop):
    changes = []
    training.on_change = lambda: changes.append((len(training.records), training.running))
    training.run()
    for done in range(1, 4):
        loop.gate.release()
        until(lambda done=done: len(training.records) == done)
    assert training.join(20) and training.status == "Done: 3 rounds."
    assert [count for count, _ in changes[:4]] == [0, 1, 2, 3] and changes[-1] == (3, False)
    assert [r.accuracy for r in training.previous] == [0.9]


def test_moving_a_slider_restarts_after_a_pause_and_keeps_the_run_before(training, loop):
    training.run()
    loop.gate.release()
    until(lambda: len(training.records) == 1)
    for rank in (4, 8, 16):
        training.move({"rank": rank})
    until(lambda: training.trained.rank == 16)
    for _ in range(4):  # one for the old run, which ends within it
        loop.gate.release()
    assert training.join(20)
    assert [s.rank for s in loop.started] == [2, 16] and [s.rank for s in loop.closed] == [2, 16]
    assert len(training.records) == 3 and len(training.previous) == 1
    assert "rank 16" in training.name and "rank 2" in training.previous_name


def test_stop_stops_and_disarms(training, loop):
    training.run()
    until(lambda: loop.started)
    training.stop()
    assert training.status == "Stopped after round 0 of 3."
    loop.gate.release()
    assert training.join(20) and len(loop.closed) == 1 and not training.records
    training.move({"rank": 8})
    until(lambda: training.outlook.tight)
    assert len(loop.started) == 1 and training.status.startswith("Stopped")


def test_a_failure_is_shown(training, loop):
    loop.failure = ValueError("rank=96 is too large")
    training.run()
    loop.gate.release()
    assert training.join(20)
    assert training.status == "Failed." and training.error is loop.failure
    assert not training.running and not training.armed


def test_the_next_seed_runs_and_reset_goes_back(training, loop):
    training.next_seed()
    for _ in range(3):
        loop.gate.release()
    assert training.join(20)
    assert loop.started[0].seed == 1 and training.records[-1].accuracy == pytest.approx(0.13)
    training.reset()
    assert training.settings == SETTINGS and training.records[0].accuracy == 0.9 and not training.previous


def test_each_run_has_its_own_budget_and_the_notebook_pays_for_all(task):
    ledger = Ledger()
    training = LiveTraining(task, METHODS["head-only"], SETTINGS, ledger=ledger)
    assert dict(training.facts())["ε of this run"] == "none yet"
    for epsilon in (3.0, 2.0):
        training.move({"epsilon": epsilon})
        training.run()
        assert training.join(120)
        assert training.error is None and len(training.records) == 3
        assert training.records[-1].epsilon <= epsilon
    assert training.total == ledger.epsilon(SETTINGS.delta) > 3.0
    assert "seed known" in training.caution
    before = len(ledger)
    training.run()  # the same settings and seed: the same releases, so nothing new is spent
    assert training.join(120) and len(ledger) == before


def test_without_a_view_a_run_is_made_once(task, loop):
    training = LiveTraining(task, METHODS["la-lora"], SETTINGS, ledger=Ledger())
    for _ in range(3):
        loop.gate.release()
    training.complete()
    training.complete()
    assert len(training.records) == 3 and len(loop.started) == 1
    assert training.name == "ε 3, rank 2, 4 clients, seed 0"
