"""The panel of lesson 10: each control moves what it says it moves, at once, and the sentence tells it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lalora_kit.figures.gallery.averages import LOOKS
from lalora_kit.lessons.gallery.averages import expected_off, layers_of, round_noise
from lalora_kit.lessons.gradients import one_layer
from lalora_kit.panels.gallery import averages as averages_panel
from lalora_kit.panels.gallery.averages import SWITCH, AveragesPanel
from lalora_kit.settings import Settings

SETTINGS, HELD = Settings(epsilon=3.0, rank=2, clients=4, rounds=2, learning_rate=20.0), 200.0
TRACES = 4 * len(LOOKS)
FACTORS, PRODUCTS = 1, 5  # the dots over ε of these two servers


def clients(rank, unequal):
    """Eight that went nearly the same way, so that what they are off by is noise."""
    rng, found = np.random.default_rng(rank), []
    common = [torch.from_numpy(rng.standard_normal(shape)) for shape in ((rank, 6), (7, rank))]
    for client in range(8):
        A, B = (x + torch.from_numpy(rng.standard_normal(x.shape)) / 50 for x in common)
        own = max(1, rank >> client % 3) if unequal else rank
        A[own:], B[:, own:] = 0, 0
        found.append(one_layer(A, B))
    return layers_of(found, rng)


POOL = {(rank, unequal): clients(rank, unequal) for rank in (2, 4) for unequal in (False, True)}


@pytest.fixture
def panel():
    panel = AveragesPanel(POOL, SETTINGS, HELD, mode="live")
    yield panel
    panel.keep.cancel()


def off(panel, trace):
    [y] = panel.figure.data[trace].y
    return y


def test_the_dots_lie_where_the_closed_form_has_them(panel):
    noise = round_noise(SETTINGS, HELD)
    some = [layer.first(4) for layer in POOL[2, False]]
    for way, trace in (("factors", FACTORS), ("products", PRODUCTS)):
        assert off(panel, trace) == pytest.approx(expected_off(some, noise, way).size)
    assert len(panel.figure.data) == TRACES


def test_a_smaller_epsilon_is_further_off_and_the_sentence_says_so(panel):
    before = off(panel, FACTORS)
    panel.controls["epsilon"].value = 0.5
    assert off(panel, FACTORS) > 2 * before
    assert "ε went from 3 to 0.5. The mean of products is off by" in panel.text.value
    assert "ε = 0.5" in panel.figure.layout.title.text


def test_more_clients_are_nearer_and_products_gain_least(panel):
    panel.controls["epsilon"].value = 0.5
    factors, products = off(panel, FACTORS), off(panel, PRODUCTS)
    panel.controls["clients"].value = 8
    assert off(panel, FACTORS) < 0.6 * factors  # nearly a half: noise times noise leads
    assert 0.65 * products < off(panel, PRODUCTS) < 0.8 * products  # nearly √½


def test_rank_and_switch_move_the_lines(panel):
    lines = [tuple(panel.figure.data[trace].y) for trace in (0, 4, 8)]
    panel.controls["rank"].value = 4
    assert all(tuple(panel.figure.data[t].y) != y for t, y in zip((0, 4, 8), lines, strict=True))
    before = off(panel, FACTORS)
    panel.controls["switch"].value = SWITCH[1]
    assert off(panel, FACTORS) != before and "ranks 4 and less" in panel.figure.layout.title.text
    panel.buttons["Reset"].click()
    assert tuple(panel.figure.data[0].y) == lines[0]


def test_without_noise_the_exact_server_leaves_a_log_axis(panel):
    panel.controls["epsilon"].value = math.inf
    assert not panel.figure.data[PRODUCTS].y and not panel.figure.data[PRODUCTS + 2].y
    assert panel.figure.data[FACTORS + 2].y and "mean of products, stacking" in panel.figure.layout.title.text


def test_a_failure_is_shown_in_the_panel(panel, monkeypatch):
    def broken(*_):
        raise ValueError("no <such> thing")

    monkeypatch.setattr(averages_panel, "sentence", broken)
    panel.controls["rank"].value = 4
    assert "ValueError: no &lt;such&gt; thing" in panel.error.value


def test_headless_leaves_one_figure_and_text(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("lalora_kit.panels.panel.pio.show", lambda figure, renderer: shown.append(figure))
    AveragesPanel(POOL, SETTINGS, HELD, mode="headless").show()
    assert len(shown) == 1 and "lost by averaging factors, without noise" in capsys.readouterr().out


def test_a_rank_or_a_number_of_clients_that_the_pool_lacks_is_refused():
    with pytest.raises(ValueError, match=r"settings ask for rank=3; each rank"):
        AveragesPanel(POOL, replace(SETTINGS, rank=3), HELD, mode="headless")
    with pytest.raises(ValueError, match=r"pool has .* needs its clients with equal and with unequal ranks"):
        AveragesPanel({(2, False): POOL[2, False]}, SETTINGS, HELD, mode="headless")
    with pytest.raises(ValueError, match=r"clients=9 are more than the 8 of the pool; take 8 or fewer"):
        AveragesPanel(POOL, replace(SETTINGS, clients=9), HELD, mode="headless")
