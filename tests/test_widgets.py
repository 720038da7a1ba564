"""The panel's widgets, driven as the browser drives them: a value arrives, a button is clicked."""

import json
import math
import threading

import pytest

from lalora_kit import METHODS, Settings, lesson, live, load_task, widgets
from lalora_kit.live import LiveTraining
from lalora_kit.privacy import Ledger
from tests.fakes import GatedRounds, fake_round

SETTINGS = Settings(epsilon=3.0, rank=2, clients=4, rounds=3, seed=0)
MOVES = 200


@pytest.fixture(scope="module")
def task():
    return load_task("digits")


@pytest.fixture
def loop(monkeypatch):
    loop = GatedRounds()
    monkeypatch.setattr(live, "federated_rounds", loop)
    return loop


@pytest.fixture
def panel(task, loop):
    first = [fake_round(1, 0.9)]
    panel = widgets.TrainingPanel(
        LiveTraining(task, METHODS["la-lora"], SETTINGS, ledger=Ledger(), first=first), mode="live"
    )
    yield panel
    panel.training.stop()
    for _ in range(2 * MOVES):
        loop.gate.release()
    assert panel.training.join(20)
    panel.keep.cancel()


def dot(panel):
    return panel.figure.data[5].x, panel.figure.data[5].y


def test_epsilon_slider_keeps_the_given_value_and_ends_at_infinity():
    slider = widgets.epsilon_slider(2.7)
    values = [value for _, value in slider.options]
    assert slider.value == 2.7 and values == sorted(values) and values[0] == 0.1 and math.isinf(values[-1])
    assert math.isinf(widgets.epsilon_slider(math.inf).value)


def test_rank_and_clients_take_values_off_their_lists():
    assert widgets.rank_slider(3).value == 3 and widgets.clients_slider(80).value == 80
    assert list(widgets.rank_slider(4).options) == list(widgets.RANKS)


@pytest.mark.parametrize(("control", "value"), [("epsilon", 0.5), ("rank", 8), ("clients", 16)])
def test_each_slider_moves_the_dot(panel, control, value):
    before, curve = dot(panel), panel.figure.data[2].y
    panel.controls[control].value = value
    assert dot(panel) != before and panel.figure.data[2].y == curve
    assert "conservative" in panel.text.value


def test_buttons_run_stop_and_reset(panel, loop):
    panel.buttons["Run"].click()
    assert len(panel.figure.data[2].x) == 0 and panel.figure.data[1].y == (0.9,)
    panel.controls["rank"].value = 8
    panel.buttons["Stop"].click()
    assert "Stopped" in panel.text.value
    panel.buttons["Reset"].click()
    assert panel.controls["rank"].value == 2 and panel.figure.data[2].y == (0.9,)
    assert "Ready" in panel.text.value


def test_a_failure_is_shown_in_the_panel(panel, monkeypatch):
    def broken(*_, **__):
        raise ValueError("epsilon=0.1 <is> not reachable")

    monkeypatch.setattr(live, "outlook", broken)
    panel.controls["epsilon"].value = 0.1
    assert "ValueError: epsilon=0.1 &lt;is&gt; not reachable" in panel.error.value
    assert "Failed" in panel.text.value
    monkeypatch.undo()
    panel.controls["epsilon"].value = 1.0
    assert panel.error.value == ""


def test_moves_from_several_threads_leave_figure_and_state_in_step(panel, loop):
    """Torn updates were common without the lock: 2,751 of 6,724 in a trial."""
    panel.buttons["Run"].click()
    failures = []

    def move(values):
        try:
            for step in range(MOVES // 4):
                panel.training.move({"rank": values[step % len(values)]})
                assert panel.training.lock.acquire(timeout=20)
                try:
                    assert dot(panel)[1] == (panel.training.outlook.noise,)
                finally:
                    panel.training.lock.release()
                loop.gate.release()
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=move, args=(values,)) for values in ((1, 2), (4, 8))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def test_headless_leaves_one_small_figure_and_text(task, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("lalora_kit.panel.pio.show", lambda figure, renderer: shown.append((figure, renderer)))
    training = LiveTraining(task, METHODS["la-lora"], SETTINGS, ledger=Ledger(), first=[fake_round(1, 0.9)])
    widgets.TrainingPanel(training, mode="headless").show()
    [(figure, renderer)] = shown
    assert renderer == "plotly_mimetype" and len(figure.to_json()) < 100_000
    text = capsys.readouterr().out
    assert "ε of all runs on these data: 0" in text and "not private" in text


def test_predict_headless_takes_the_default_and_says_so(capsys):
    prediction = widgets.predict("how much?", ["little", "much"], "much", mode="headless")
    widgets.reveal(prediction, "little")
    text = capsys.readouterr().out
    assert prediction.choice == "much" and "default choice is: much" in text and "came out: little" in text
    with pytest.raises(ValueError, match="is not an option"):
        widgets.predict("how much?", ["little"], "none", mode="headless")


def test_predict_live_keeps_the_choice_even_when_it_comes_late(monkeypatch, tmp_path):
    displayed = []
    monkeypatch.setattr(widgets, "display", displayed.append)
    monkeypatch.setattr(lesson, "PREDICTIONS", tmp_path / "predictions.json")
    prediction = widgets.predict("how much?", ["little", "much"], "much", mode="live")
    widgets.reveal(prediction, "little")
    buttons, line = displayed[0].children[1], displayed[1]
    assert "no choice yet" in line.value
    buttons.value = "much"
    assert "You chose: much. It came out: little." in line.value
    assert json.loads((tmp_path / "predictions.json").read_text())["how much?"]["choice"] == "much"
