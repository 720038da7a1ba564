"""The forest plot and its panel: what is drawn is what was judged, under as many seeds as the slider says."""

import json
import math
from dataclasses import replace

import pytest

from lalora_kit.figures.claims import forest_figure, parts, verdict_look
from lalora_kit.lessons import lesson
from lalora_kit.panels.lesson.claims import ClaimsPanel, nearest
from lalora_kit.trial.claims import CLAIMS, claims_on
from lalora_kit.trial.designs import DIGITS
from lalora_kit.trial.verdicts import STILL, TOO_FEW
from tests.trial.test_claims import judge, made_up, wobble


@pytest.fixture(scope="module")
def runs():
    found = made_up(lambda c: 0.5 + 0.1 * (c.method == "la-lora") + wobble(c), CLAIMS)
    probed = {"coupling": 0.05, "lambda_factors": 40.0, "lambda_weights": 300.0}
    return {c: {**line, **{k: v * (1 + wobble(c)) for k, v in probed.items()}} for c, line in found.items()}


@pytest.fixture
def panel(runs):
    panel = ClaimsPanel(runs, design=DIGITS, mode="live")
    yield panel
    panel.keep.cancel()


def test_every_claim_has_a_place_and_its_effect_is_drawn(runs):
    rows = judge(runs)
    figure = forest_figure(rows, "best")
    groups = parts(rows)
    assert sum(map(len, groups)) == len(CLAIMS)
    for part, effects in zip(groups, figure.data[1::4], strict=True):
        assert list(effects.x) == pytest.approx([row.best.mean for row in part])
        assert list(effects.marker.color) == [verdict_look(row.verdict)[0] for row in part]
    holds = sum(row.verdict == "holds" for row in rows)
    assert holds >= 8 and figure.layout.title.text.startswith(f"{holds} of {len(CLAIMS)} hold")


def test_each_verdict_has_a_look_of_its_own():
    said = [
        *("holds", "holds only at equal learning rate"),
        *("the opposite holds", "the opposite holds only at equal learning rate"),
        *("ruled out above 3", "no gain, and less than 2 lost or won", TOO_FEW, STILL),
    ]
    assert len({verdict_look(verdict) for verdict in said}) == len(said)


def test_fewer_seeds_widen_what_cannot_be_seen(panel):
    before = sum(panel.figure.data[0].x)
    panel.controls["seeds"].value = 2
    assert sum(panel.figure.data[0].x) > before and "2 seeds" in panel.figure.layout.title.text
    effects = panel.figure.data[1].x
    panel.controls["rates"].value = "equal"
    assert panel.figure.data[1].x != effects
    panel.buttons["Reset"].click()
    assert panel.controls["seeds"].value == 5 and sum(panel.figure.data[0].x) == before


@pytest.mark.parametrize("rates", ["best", "equal"])
def test_the_widest_grey_zone_told_is_the_one_drawn(panel, rates):
    panel.controls["rates"].value = rates
    told = dict(panel.redraw({**panel.values, "rates": rates}).facts)["widest grey zone"]
    assert told == f"±{max(panel.figure.data[0].x) / 2:.1f} points"


def test_nothing_run_yet_is_drawn_as_nothing():
    rows = judge({})
    assert all(x is None for x in forest_figure(rows, "best").data[1].x)
    assert all(row.verdict == "too few seeds to say" for row in rows)


def test_predictions_are_scored_where_both_sides_are_known(tmp_path):
    path = tmp_path / "predictions.json"
    assert lesson.scores(path) == []
    kept = {"who wins?": {"choice": "a", "answer": "b"}, "open": {"choice": "a", "answer": None}, "x": {"answer": "b"}}
    path.write_text(json.dumps(kept))
    assert lesson.scores(path) == [("who wins?", "a", "b")]


def test_the_three_sliders_point_at_the_rows_that_were_run_nearest(panel):
    panel.controls["epsilon"].value = 0.7
    sizes = dict(zip(panel.figure.data[1].y, panel.figure.data[1].marker.size, strict=True))
    large = {name for name, size in sizes.items() if size > min(sizes.values())}
    at_one = {claim.text for claim in CLAIMS if claim.epsilon == 1}
    assert large and large == at_one & set(sizes)
    assert "ε went from 3 to 0.7: " in panel.text.value
    assert panel.text.value.count("the nearest runs are of ε 1, rank 4, 8 clients") == 1
    panel.controls["clients"].value = 32
    assert "The number of clients went from 8 to 32: " in panel.text.value
    assert "the nearest runs are of ε 1, rank 4, 8" in panel.text.value
    panel.controls["epsilon"].value = math.inf
    assert "the nearest runs are of ε 3" in panel.text.value


def test_away_from_the_usual_settings_the_nearest_rows_are_those_of_that_setting():
    claims = claims_on("mnist")
    assert nearest(claims, (1.0, 32, 8, "even"), DIGITS) == (1, 16, 8, "even")
    assert nearest(claims, (3.0, 4, 20, "even"), DIGITS) == (3, 4, 16, "even")
    assert nearest(claims, (3.0, 4, 8, "even"), DIGITS) == (3, 4, 8, "even")
    assert nearest(claims, (1.0, 16, 8, "skewed"), DIGITS) == (1, 4, 8, "skewed")


@pytest.fixture(scope="module")
def moved():
    """Every row that is asked on mnist, on made-up runs of the digits: each side of each claim at every rate."""
    return made_up(lambda c: 0.5 + 0.1 * (c.method == "la-lora") + wobble(c), claims_on("mnist"))


@pytest.mark.parametrize(
    "control, value, named", [("rank", 16, "rank 16"), ("clients", 16, "16 clients"), ("split", "skewed", "skewed")]
)
def test_a_slider_away_from_the_usual_draws_the_rows_that_were_run_there(moved, control, value, named):
    panel = ClaimsPanel(moved, claims_on("mnist"), DIGITS, mode="live")
    try:
        usual = panel.figure.to_dict()
        assert sum(len(trace["y"]) for trace in usual["data"][1::4]) == len(CLAIMS)
        panel.controls[control].value = value
        drawn = panel.figure.data[1].y
        assert len(drawn) == 6 and all(name.startswith("LA-LoRA") and named in name for name in drawn)
        named = [note.text for note in panel.figure.layout.annotations if note.visible]
        assert named == list(drawn), "each row has its name, and no row's name is left over"
        assert panel.figure.layout.title.text.startswith("6 of 6 hold"), "judged, and drawn as judged"
        assert not panel.figure.layout.yaxis2.visible and panel.figure.layout.height < usual["layout"]["height"] / 2
        low, high = panel.figure.layout.xaxis.range
        ends = [end for row in panel.drawn(panel.values) for end in (row.best.low, row.best.high)]
        assert low < min(ends) and max(ends) < high < 2 * max(map(abs, ends)), "room for its rows, and for no others"
        panel.controls["rates"].value = "equal"
        assert panel.figure.layout.xaxis.range != (low, high), "and for what is drawn of them"
        panel.buttons["Reset"].click()
        assert panel.figure.layout.height == usual["layout"]["height"]
        assert panel.figure.layout.yaxis2.visible and len(panel.figure.data[1].y) == len(usual["data"][1]["y"])
    finally:
        panel.keep.cancel()


def test_fewer_seeds_say_how_many_intervals_leave_out_zero(panel):
    before = panel.decided(panel.values)
    panel.controls["seeds"].value = 2
    after = panel.decided(panel.values)
    assert f"2 seeds, each at its best rate: {after} intervals leave out zero; before it were {before}." in (
        panel.text.value
    )
    assert all(told.endswith(f" of {len(CLAIMS)}") for told in (before, after))
    assert int(after.split()[0]) < int(before.split()[0])


def test_the_last_place_of_the_slider_is_the_second_look():
    claims = [claim for claim in CLAIMS if not claim.unit.probe]
    design = replace(DIGITS, seeds=(0, 1, 2), more=(3, 4))
    found = made_up(lambda c: 0.5 + wobble(c, 0.02), claims)
    panel = ClaimsPanel(found, claims, design, mode="live")
    try:
        options = [label for label, _ in panel.controls["seeds"].options]
        assert options == ["2", "3", "3 or 5"] and "5 seeds" in panel.figure.layout.title.text
        panel.controls["seeds"].value = 3
        assert "<sup>3 seeds" in panel.figure.layout.title.text
    finally:
        panel.keep.cancel()
