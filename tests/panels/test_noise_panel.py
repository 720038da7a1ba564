"""The noise panel: what each control does to the noise, by the rules that the lesson states."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lalora_kit.figures.pictures.noise_panel import SWITCH
from lalora_kit.lessons.amplification import expected_noise, fresh_layer
from lalora_kit.panels.lesson import noise as noise_panel
from lalora_kit.panels.lesson.noise import NoisePanel, averaged_noise, noise_std, sampling
from lalora_kit.settings import Settings

SETTINGS = Settings(epsilon=3.0, rank=2, clients=8, rounds=3)
ADAPTERS = {r: fresh_layer(12, 10, r, np.random.default_rng(0)) for r in (1, 2, 4)}
PEOPLE = 800


@pytest.fixture
def panel():
    panel = NoisePanel(ADAPTERS, SETTINGS, PEOPLE, mode="live")
    yield panel
    panel.keep.cancel()


def noise(panel):
    [x] = panel.figure.data[5].x
    return x


def test_noise_std_is_rate_times_clip_times_sigma_over_batch():
    rate, sigma = sampling(SETTINGS, 100)
    assert rate == 0.1 and sigma > 0.3
    assert noise_std(SETTINGS, 100) == pytest.approx(0.5 * 1.0 * sigma / 10)
    assert noise_std(replace(SETTINGS, sample_rate=None, batch_size=10), 100) == noise_std(SETTINGS, 100)
    assert noise_std(replace(SETTINGS, epsilon=math.inf), 100) == 0.0


def test_averaged_noise_is_that_of_averaged_factors():
    mean = expected_noise(ADAPTERS[2], averaged_noise(SETTINGS, 100))
    clients = expected_noise(ADAPTERS[2], noise_std(SETTINGS, 100), clients=8)
    assert mean.cross == pytest.approx(clients.cross) and mean.full == pytest.approx(clients.full)


def test_the_switch_tells_the_two_half_truths(panel):
    before = noise(panel)
    panel.controls["clients"].value = 32
    assert noise(panel) == pytest.approx(2 * before)  # √(32/8), the same people
    panel.controls["switch"].value = SWITCH[1]
    assert noise(panel) == pytest.approx(before / 2)
    assert "100" in panel.text.value  # what a site holds
    panel.buttons["Reset"].click()
    assert noise(panel) == before and panel.controls["switch"].value == SWITCH[0]


def test_the_heatmaps_answer_epsilon_by_their_scale_and_rank_by_their_numbers(panel):
    cross = panel.figure.data[14]
    numbers, end = np.array(cross.z), cross.zmax
    panel.controls["epsilon"].value = 0.5
    assert (cross.zmax < end and cross.z is numbers) or (np.array(cross.z) == numbers).all()
    panel.controls["rank"].value = 4
    assert (np.array(cross.z) != numbers).any() and len(panel.figure.data) == 15


def test_epsilon_moves_the_marks_and_rank_lifts_the_line(panel):
    before, line, wall = noise(panel), panel.figure.data[2].y, panel.figure.data[7].x
    panel.controls["epsilon"].value = 0.5
    assert noise(panel) > 2 * before and panel.figure.data[2].y == line
    assert "ε went from 3 to 0.5. After a run, noise per entry is" in panel.text.value
    panel.controls["rank"].value = 4
    np.testing.assert_allclose(panel.figure.data[2].y, np.sqrt(2) * np.array(line))
    assert panel.figure.data[7].x < wall
    panel.controls["epsilon"].value = math.inf
    assert not panel.figure.data[5].x and "no privacy" in panel.figure.layout.title.text


def test_a_failure_is_shown_in_the_panel(panel, monkeypatch):
    def broken(*_, **__):
        raise ValueError("no <such> thing")

    monkeypatch.setattr(noise_panel, "noise_view", broken)
    panel.controls["rank"].value = 1
    assert "ValueError: no &lt;such&gt; thing" in panel.error.value
    monkeypatch.undo()
    panel.controls["rank"].value = 2
    assert panel.error.value == ""


def test_headless_leaves_one_figure_and_text(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("lalora_kit.panels.panel.pio.show", lambda figure, renderer: shown.append(figure))
    NoisePanel(ADAPTERS, SETTINGS, PEOPLE, mode="headless").show()
    assert len(shown) == 1 and "conservative" in capsys.readouterr().out


def test_a_rank_without_factors_is_refused():
    with pytest.raises(ValueError, match=r"rank=3 has no adapter here \(\[1, 2, 4\]\)"):
        NoisePanel(ADAPTERS, replace(SETTINGS, rank=3), PEOPLE, mode="headless")
