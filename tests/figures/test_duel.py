"""Methods against each other: the opening's figure, and the tables of lesson 04."""

import json
import math

import pytest

from lalora_kit.figures.pictures.across import RIVAL_LINES
from lalora_kit.figures.pictures.duel import best_rows, duel_figure, duel_rows, not_behind, short, top
from lalora_kit.trial.ablation import BEST, Gain
from lalora_kit.trial.rivals import Rival

CURVES = {"la-lora": [[0.2, 0.5], [0.4, 0.7]], "dp-lora": [[0.1, 0.2]]}
ACROSS = [Rival("linear", 3.0, 8, 1.0, [[0.3, 0.64]]), Rival("untrained", math.nan, 0, math.nan, [[0.2, 0.2]])]
LINES = {"la-lora": {0.5: [0.6, 0.7], 1.0: [0.5, 0.6]}, "dp-lora": {0.5: [0.3, 0.3], 1.0: [0.4, 0.5]}}
CLEAR, UNCLEAR = Gain(7.94, 3.1, 5), Gain(-1.0, 3.1, 5)


def test_the_duel_draws_a_band_from_the_worst_seed_to_the_best_and_the_baselines_across():
    figure = duel_figure(CURVES, ACROSS, "a finding")
    low, high, mean = figure.data[:3]
    assert (low.y, high.y) == ((0.2, 0.5), (0.4, 0.7)) and mean.y == pytest.approx((0.3, 0.6))
    assert [figure.data[place].name for place in (2, 5)] == ["la-lora (2 seeds)", "dp-lora, one run"]
    across = figure.data[6:]
    assert len(across) == RIVAL_LINES
    assert [(trace.y[0], trace.text[-1]) for trace in across[:2]] == [(0.64, "linear 64.0%"), (0.2, "untrained 20.0%")]
    assert all(trace.x[-1] == 0.5 and trace.textposition == "middle right" for trace in across[:2]), "at the left end"
    json.loads(figure.to_json())


def test_a_difference_in_short_has_a_star_only_where_its_interval_leaves_out_zero():
    assert short(CLEAR) == "+7.9 ± 3.1 *" and short(UNCLEAR) == "-1.0 ± 3.1"
    assert short(None) == short(Gain(math.nan, math.nan, 0)) == "–"


def test_the_top_is_the_highest_mean():
    assert top(LINES["la-lora"]) == pytest.approx(0.65) and math.isnan(top({}))


def test_a_row_for_each_place_that_was_asked_and_a_dash_where_one_side_was_not():
    gains = {
        ("la-lora", "dp-lora", 0.5): CLEAR,
        ("la-lora", "dp-lora", BEST): UNCLEAR,
        ("la-lora", "rolora", BEST): CLEAR,
        ("rolora", "dp-lora", 9.0): CLEAR,  # of another one: no row here
    }
    assert duel_rows(gains, "la-lora", ["dp-lora", "rolora"]) == [
        {"adapter's rate": "0.5", "above dp-lora": "+7.9 ± 3.1 *", "above rolora": "–"},
        {"adapter's rate": BEST, "above dp-lora": "-1.0 ± 3.1", "above rolora": "+7.9 ± 3.1 *"},
    ]


def test_methods_at_their_best_rates_stand_among_the_baselines_the_highest_first():
    rows = best_rows(LINES, ACROSS, {("la-lora", "dp-lora", BEST): CLEAR}, "la-lora")
    assert [(row["method"], row["rate"]) for row in rows] == [
        ("la-lora", "0.5"), ("linear", "none"), ("dp-lora", "1"), ("untrained", "none"),
    ]  # fmt: skip
    assert rows[0]["mean (seeds)"] == "65.0% (60 to 70)"
    assert [row["la-lora is above by"] for row in rows] == ["–", "–", "+7.9 ± 3.1 *", "–"]


def test_a_baseline_within_a_methods_seeds_is_level_and_one_above_all_of_them_is_ahead():
    assert not_behind(LINES, ACROSS) == "linear 64.0% is ahead of dp-lora; linear 64.0% is level with la-lora"
    strong = [Rival("linear", 3.0, 8, 1.0, [[0.9]])]
    assert not_behind(LINES, strong) == "linear 90.0% is ahead of every adapter"
    assert not_behind(LINES, ACROSS[1:]) == "no baseline is level with any adapter"
