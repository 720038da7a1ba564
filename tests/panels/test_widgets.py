"""The panel's widgets, driven as the browser drives them: a value arrives, a button is clicked."""

import math
import threading

import pytest

from lalora_kit import METHODS, Settings
from lalora_kit.panels import live, widgets
from lalora_kit.panels.live import LiveTraining
from lalora_kit.privacy import Ledger
from lalora_kit.trial import ablation, grid
from lalora_kit.trial.designs import DIGITS
from tests.fakes import fake_round

SETTINGS = Settings(epsilon=3.0, rank=2, clients=4, rounds=3, seed=0)
MOVES = 200


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


GRID = {
    **{grid.cell("la-lora", "epsilon", 3.0, seed, DIGITS): [seed / 10] * 10 for seed in (1, 2, 4)},
    grid.cell("la-lora", "rank", 16, 0, DIGITS): [0.7] * 10,
    grid.cell("head-only", "epsilon", 3.0, 0, DIGITS): [0.5] * 10,
}


@pytest.fixture
def banded(task, loop):
    """A panel over the grid, at its defaults, with nothing run yet."""
    training = LiveTraining(task, METHODS["la-lora"], Settings(seed=0, max_samples=64), ledger=Ledger())
    panel = widgets.TrainingPanel(training, runs=GRID, mode="live")
    yield panel
    training.stop()
    for _ in range(100):
        loop.gate.release()
    assert training.join(20)
    panel.keep.cancel()


def test_the_grid_is_shown_before_anything_has_run_and_only_where_it_holds_runs(banded):
    low, high, mean = banded.figure.data[6:9]
    assert low.y == (0.1,) * 10 and high.y == (0.4,) * 10 and mean.y == pytest.approx((0.7 / 3,) * 10)
    assert not banded.figure.data[2].x and "3 seeds of la-lora" in banded.text.value
    for control, value, found in (("rank", 16, (0.7,) * 10), ("epsilon", 1.0, ()), ("rank", 4, ())):
        banded.controls[control].value = value
        assert banded.figure.data[8].y == found
        assert ("holds no run" in banded.text.value) is not bool(found)
    banded.controls["epsilon"].value = 3.0
    assert len(banded.figure.data[8].y) == 10


def test_next_seed_keeps_the_seeds_before_faint_and_another_setting_hides_them(banded, loop):
    for seed in range(4):
        banded.buttons["Next seed" if seed else "Run"].click()
        for _ in range(10):
            loop.gate.release()
        assert banded.training.join(20) and banded.training.trained.seed == seed
    assert banded.figure.data[2].y[-1] == pytest.approx(0.4) and banded.figure.data[1].y[-1] == pytest.approx(0.3)
    apart = banded.figure.data[9].y
    assert (apart[9], apart[20]) == pytest.approx((0.1, 0.2)) and apart[10] is apart[21] is None and len(apart) == 22
    assert banded.figure.data[9].opacity < 0.5
    banded.controls["rank"].value = 16
    for _ in range(10):
        loop.gate.release()
    until = threading.Event()
    assert not until.wait(1) and banded.training.join(20)
    assert banded.training.trained.rank == 16 and not banded.figure.data[9].x
    banded.buttons["Reset"].click()
    assert not banded.figure.data[2].x and len(banded.figure.data[8].y) == 10


def test_headless_the_band_is_in_the_figure_and_a_line_says_how_many_seeds(task, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("lalora_kit.panels.panel.pio.show", lambda figure, renderer: shown.append(figure))
    first = [fake_round(t, 0.3) for t in range(1, 11)]
    training = LiveTraining(task, METHODS["la-lora"], Settings(seed=0), ledger=Ledger(), first=first)
    widgets.TrainingPanel(training, runs=GRID, mode="headless").show()
    assert shown[0].data[6].y == (0.1,) * 10 and shown[0].data[7].y == (0.4,) * 10
    said = capsys.readouterr().out
    assert "3 seeds of la-lora at rate 0.5, ε 3, rank 4, 8 clients:\n23.3% on average, 10.0% to" in said


def test_a_grid_of_another_task_or_number_of_rounds_draws_no_band(task, loop):
    training = LiveTraining(task, METHODS["la-lora"], Settings(seed=0, rounds=4), ledger=Ledger())
    assert not widgets.TrainingPanel(training, runs=GRID, mode="headless").view().shipped
    assert not ablation.seeds_at(GRID, METHODS["la-lora"], Settings(), "mnist"), "whose usual settings are others"
    assert ablation.seeds_at(GRID, METHODS["head-only"], Settings(learning_rate=2.0), "digits") == [[0.5] * 10]


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
    monkeypatch.setattr("lalora_kit.panels.panel.pio.show", lambda figure, renderer: shown.append((figure, renderer)))
    training = LiveTraining(task, METHODS["la-lora"], SETTINGS, ledger=Ledger(), first=[fake_round(1, 0.9)])
    widgets.TrainingPanel(training, runs={}, mode="headless").show()
    [(figure, renderer)] = shown
    assert renderer == "plotly_mimetype" and len(figure.to_json()) < 100_000
    text = capsys.readouterr().out
    assert "ε of all runs on these data: 0" in text and "not private" in text
    assert text.count("holds no run of la-lora at these settings") == 1
