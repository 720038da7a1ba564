"""Figures of noise: what is zero is left out of a log axis, and the live panel always has the same traces."""

import json
import math

import numpy as np
import pytest

from lalora_kit.figures import common as figures
from lalora_kit.figures import noise as figures_noise
from lalora_kit.figures.pictures import noise_panel
from lalora_kit.figures.pictures.factors import PARTS, PRODUCTS, factors_figure, scales, sizes, tiles
from lalora_kit.figures.pictures.noise_panel import NoiseView
from lalora_kit.lessons.amplification import expected_noise, fresh_layer, sampled_noise
from lalora_kit.panels.lesson.factors import parts_of

LAYER = fresh_layer(6, 5, 2, np.random.default_rng(0))
CURVE = [(t, expected_noise(LAYER, t)) for t in (0.01, 0.1, 1.0)]


TRAINED = fresh_layer(6, 5, 2, np.random.default_rng(0))
TRAINED.tensors["B", "W"].fill_(0.1)
DRAWN = parts_of(TRAINED, np.random.default_rng(1))


def view(noise: float = 0.1, crossing: float = 0.5) -> NoiseView:
    at = (noise, expected_noise(LAYER, noise))
    return NoiseView(
        3.0,
        2,
        8,
        False,
        CURVE,
        crossing,
        at,
        at,
        [(1, 0.1), (2, 0.2)],
        [(1, 0.2), (2, 0.1)],
        tiles(DRAWN, noise, PRODUCTS),
    )


def test_no_term_borrows_a_methods_colour():
    assert not {colour for _, colour, *_ in figures_noise.TERMS.values()} & {
        colour for colour, *_ in figures.LOOKS.values()
    }


def test_disturbance_figure_leaves_out_what_is_zero_and_draws_the_rest():
    drawn = [(0.1, sampled_noise(LAYER, 0.1, draws=3, generator=np.random.default_rng(1)))]
    figure = figures_noise.disturbance_figure(CURVE, "N_B·N_A", crossing=0.5, sampled=drawn, marks={"here": (0.1, 1.0)})
    assert figure.layout.title.text == "N<sub>B</sub>·N<sub>A</sub>"
    lines = {trace.name: trace for trace in figure.data if trace.mode == "lines"}
    assert len(lines) == 5 and not lines["B·N<sub>A</sub>"].x  # B is zero
    assert lines["N<sub>B</sub>·N<sub>A</sub>"].y == tuple(energy.sizes.cross for _, energy in CURVE)
    assert figure.data[-1].x == (0.1,) and figure.layout.annotations[0].x == pytest.approx(math.log10(0.5))


def test_growth_and_averaging_figures_draw_what_they_are_given():
    growth = figures_noise.growth_figure({"dp-lora": [1.0, 2.0], "ffa-lora": [0.0, 0.0]}, "a finding")
    assert [trace.y for trace in growth.data] == [(1.0, 2.0), (0.0, 0.0)]
    points = {kind: [(1, 1.0), (4, 0.5)] for kind in ("factors", "products")}
    averaging = figures_noise.averaging_figure(points, points, "a finding")
    assert len(averaging.data) == 4 and averaging.layout.xaxis.tickvals == (1, 4)


@pytest.mark.parametrize("noise", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("crossing", [0.5, math.nan])
def test_noise_figure_always_has_the_same_traces(noise, crossing):
    figure = noise_panel.noise_figure(view(noise, crossing))
    assert len(figure.data) == 15 and [trace.type for trace in figure.data[11:]] == ["heatmap"] * 4
    assert len(figure.data[5].x) == (noise > 0) and len(figure.data[7].x) == 2 * math.isfinite(crossing)
    json.loads(figure.to_json())
    for axis in ("xaxis5", "yaxis5", "xaxis6", "yaxis6"):
        assert figure.layout[axis].title.text


def test_the_title_says_which_is_noisier():
    assert "less noisy" in noise_panel.noise_title(view(0.01))
    assert "noisier" in noise_panel.noise_title(view(5.0))
    assert "no privacy" in noise_panel.noise_title(view(0.0))


def test_the_table_is_a_multiplication_table():
    assert DRAWN["N_B·N_A"] == pytest.approx(DRAWN["N_B"] @ DRAWN["N_A"])
    assert DRAWN["B·N_A"] == pytest.approx(DRAWN["B"] @ DRAWN["N_A"]) and set(DRAWN) == set(PARTS)
    once, twice = sizes(DRAWN, 0.1), sizes(DRAWN, 0.2)
    ratios = {name: twice[name] / once[name] for name in PRODUCTS}
    assert ratios == pytest.approx({"B·A": 1, "B·N_A": 2, "N_B·A": 2, "N_B·N_A": 4})


def test_all_products_share_one_true_scale():
    """A part's colours end at the same value for all, once its noise is made as loud as it is."""
    ends = scales(DRAWN, 0.3)
    true = [ends[name] * 0.3 ** PARTS[name][2] for name in PRODUCTS]
    assert true == pytest.approx([true[0]] * 4)
    assert max(sizes(DRAWN, 0.3)[name] for name in PRODUCTS) < true[0]


def test_the_sliders_steps_change_scales_alone():
    noises = {"10": 0.01, "1": 0.1, "∞": 0.0}
    figure = factors_figure(DRAWN, noises, ["N_B small", "middle", "none"], active=0)
    assert len(figure.data) == 8 and figure.layout.title.text == "N<sub>B</sub> small"
    [slider] = figure.layout.sliders
    changed, title = slider.steps[1].args
    assert set(changed) == {"zmin", "zmax"} and len(changed["zmax"]) == 8 and title == {"title.text": "middle"}
    assert changed["zmax"] == pytest.approx([scales(DRAWN, 0.1)[name] for name in PARTS])
    json.loads(figure.to_json())
