"""Three seeds at settings of one's own: one run after another, a band with its name, and what ends it."""

import pytest

from lalora_kit import METHODS, Settings, federated_rounds
from lalora_kit.panels.lesson.rate import RatePanel
from lalora_kit.panels.live import LiveTraining
from lalora_kit.panels.seeds import BUTTON, HINT
from lalora_kit.panels.widgets import TrainingPanel
from lalora_kit.privacy import Ledger
from tests.fakes import until

SETTINGS = Settings(epsilon=3.0, rank=2, clients=4, rounds=2, seed=0)


def make(task, kind):
    training = LiveTraining(task, METHODS["la-lora"], SETTINGS, ledger=Ledger())
    if kind is RatePanel:
        return RatePanel(training, {}, METHODS, mode="live")
    return TrainingPanel(training, runs={}, mode="live")


@pytest.fixture(params=[TrainingPanel, RatePanel])
def panel(request, task, loop):
    panel = make(task, request.param)
    yield panel
    panel.seeds.expected = None
    panel.training.stop()
    for _ in range(20):
        loop.gate.release()
    assert panel.training.join(20)
    panel.keep.cancel()


def band(panel):
    """The mean of what lies under the curve."""
    return next(trace for trace in panel.figure.data if trace.name and trace.name.startswith("run here"))


def test_three_seeds_train_one_after_another_and_leave_a_band_that_is_named(panel, loop):
    assert HINT in panel.text.value, "off the shipped grid, the button is offered"
    panel.buttons[BUTTON].click()
    assert "Seed 1 of 3." in panel.text.value
    for _ in range(2):
        loop.gate.release()
    until(lambda: len(loop.started) == 2)
    until(lambda: "Seed 2 of 3." in panel.text.value)
    assert not any((trace.name or "").startswith("run here") for trace in panel.figure.data), "two seeds are no band"
    for _ in range(4):
        loop.gate.release()
    until(lambda: not panel.training.running and len(panel.seeds.whole()) == 3)
    until(lambda: "Seed " not in panel.text.value)  # the last picture follows the state
    assert [settings.seed for settings in loop.started] == [0, 1, 2] and len(loop.closed) == 3
    assert "3 seeds, run here: 12.0% on average, 2.0% to 22.0%, after 2 rounds." in panel.text.value
    assert HINT not in panel.text.value
    assert "3 seeds" in band(panel).name
    assert band(panel).y == pytest.approx((0.11, 0.12))
    panel.buttons[BUTTON].click()
    assert len(loop.started) == 3 and not panel.training.running, "they are there already"
    panel.controls["rank"].value = 8
    assert "run here" not in panel.text.value, "a band is of its own settings"
    panel.training.stop()


def test_a_run_that_was_made_counts(panel, loop):
    panel.buttons["Run"].click()
    for _ in range(2):
        loop.gate.release()
    assert panel.training.join(20)
    panel.buttons[BUTTON].click()
    assert "Seed 2 of 3." in panel.text.value
    until(lambda: len(loop.started) == 2)
    assert [settings.seed for settings in loop.started] == [0, 1]


def test_stop_ends_it(panel, loop):
    panel.buttons[BUTTON].click()
    until(lambda: loop.started)
    panel.buttons["Stop"].click()
    for _ in range(6):
        loop.gate.release()
    assert panel.training.join(20)
    assert len(loop.started) == 1 and "Stopped" in panel.text.value and "of 3." not in panel.text.value


def test_a_slider_that_is_moved_ends_it_and_trains_there(panel, loop):
    panel.buttons[BUTTON].click()
    until(lambda: loop.started)
    panel.controls["rank"].value = 8
    until(lambda: panel.training.trained.rank == 8)
    for _ in range(8):
        loop.gate.release()
    until(lambda: not panel.training.running)
    assert [settings.rank for settings in loop.started] == [2, 8] and panel.seeds.expected is None


def test_a_failure_ends_it(panel, loop):
    loop.failure = ValueError("no room")
    panel.buttons[BUTTON].click()
    loop.gate.release()
    until(lambda: "no room" in panel.error.value)
    assert panel.training.join(20) and len(loop.started) == 1 and panel.seeds.expected is None


def test_each_of_the_runs_is_paid_for(task):
    ledger, one, method, settings = Ledger(), Ledger(), METHODS["head-only"], Settings(rounds=1, seed=0)
    list(federated_rounds(task, method, settings, ledger=one))
    training = LiveTraining(task, method, settings, ledger=ledger)
    panel = TrainingPanel(training, mode="live")
    panel.seeds.start()
    until(lambda: not training.running and len(panel.seeds.whole()) == 3)
    assert training.join(20) and training.error is None
    assert len(ledger) == 3 * len(one) > 0
    assert training.total == ledger.epsilon(settings.delta) > one.epsilon(settings.delta)
    panel.keep.cancel()
