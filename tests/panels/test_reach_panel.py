"""The panel of lesson 11: ε and clients move the noise alone, the rank moves the marks; the sentence tells it."""

import math
from dataclasses import replace

import pytest

from lalora_kit.figures.gallery.reach import LOOKS
from lalora_kit.lessons.gallery.reach import Reach
from lalora_kit.panels.gallery import reach as reach_panel
from lalora_kit.panels.gallery.reach import ReachPanel, sampling, step_noise
from lalora_kit.settings import Settings

SETTINGS, PEOPLE = Settings(epsilon=3.0, rank=2, clients=4, rounds=2), 800
WAYS = list(LOOKS)
FFA = WAYS.index("FFA")


def reaches(rank):
    return {
        way: Reach(10 ** (5 - i) * rank, 0.1 * (5 - i), 0.3, math.sqrt(10 ** (5 - i) * rank), 0.5)
        for i, way in enumerate(WAYS)
    }


@pytest.fixture
def panel():
    panel = ReachPanel({rank: reaches(rank) for rank in (2, 4)}, SETTINGS, PEOPLE, mode="live")
    yield panel
    panel.keep.cancel()


def ratio(panel):
    [y] = panel.figure.data[len(WAYS) + FFA].y
    return y


def test_noise_of_an_averaged_step_by_hand():
    rate, sigma = sampling(SETTINGS, 200)
    assert step_noise(SETTINGS, PEOPLE) == pytest.approx(sigma / (rate * 200 * 2))
    assert step_noise(replace(SETTINGS, epsilon=math.inf), PEOPLE) == 0.0


def test_signal_over_noise_is_that_of_the_reach(panel):
    assert ratio(panel) == pytest.approx(0.3 / (step_noise(SETTINGS, PEOPLE) * math.sqrt(2 * 10**2)))
    assert len(panel.figure.data) == 2 * len(WAYS)


def test_epsilon_and_clients_move_the_noise_and_not_the_reach(panel):
    before, marks = ratio(panel), [tuple(panel.figure.data[i].y) for i in range(len(WAYS))]
    panel.controls["epsilon"].value = 0.5
    assert ratio(panel) < before / 2
    assert "ε went from 3 to 0.5. FFA&#x27;s signal over noise is" in panel.text.value
    panel.controls["epsilon"].value = 3.0
    panel.controls["clients"].value = 16
    assert ratio(panel) == pytest.approx(before / 2)  # √(16/4), the same people
    assert [tuple(panel.figure.data[i].y) for i in range(len(WAYS))] == marks


def test_the_rank_moves_the_marks_and_infinity_takes_the_noise_away(panel):
    x = tuple(panel.figure.data[FFA].x)
    panel.controls["rank"].value = 4
    assert panel.figure.data[FFA].x[0] == 2 * x[0] and "it reaches" in panel.text.value
    panel.controls["epsilon"].value = math.inf
    assert not panel.figure.data[len(WAYS) + FFA].y and "no privacy" in panel.figure.layout.title.text
    panel.buttons["Reset"].click()
    assert tuple(panel.figure.data[FFA].x) == x


def test_a_failure_is_shown_in_the_panel(panel, monkeypatch):
    def broken(*_):
        raise ValueError("no <such> thing")

    monkeypatch.setattr(reach_panel, "sentence", broken)
    panel.controls["rank"].value = 4
    assert "ValueError: no &lt;such&gt; thing" in panel.error.value


def test_headless_leaves_one_figure_and_text(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("lalora_kit.panels.panel.pio.show", lambda figure, renderer: shown.append(figure))
    ReachPanel({2: reaches(2)}, SETTINGS, PEOPLE, mode="headless").show()
    assert len(shown) == 1 and "FFA: 200 numbers, within reach: 20.0%" in capsys.readouterr().out


def test_a_rank_without_reaches_is_refused():
    with pytest.raises(ValueError, match=r"rank=3 has no reaches here \(\[2\]\)"):
        ReachPanel({2: reaches(2)}, replace(SETTINGS, rank=3), PEOPLE, mode="headless")
