"""The panel of lesson 05: formulas at once, an audit of the chosen loop after it, and no silent failure."""

import math
from dataclasses import replace

import pytest

from lalora_kit.auditing.reach import most_shown
from lalora_kit.auditing.traps import wrong_rounds
from lalora_kit.federated import federated_rounds
from lalora_kit.figures.privacy import (
    PrivacyView,
    privacy_data,
    privacy_figure,
    privacy_title,
    reach_figure,
    spent_figure,
)
from lalora_kit.methods import METHODS
from lalora_kit.panels.lesson.privacy import PrivacyPanel
from lalora_kit.settings import Settings
from tests.faults import no_noise

SETTINGS = Settings(rounds=4, clients=8, seed=0)


def without_noise(*given, **named):
    """A wrong loop: the ledger is right and nothing is added."""
    with pytest.MonkeyPatch.context() as patch:
        no_noise(patch)
        yield from federated_rounds(*given, **named)


def broken(*given, **named):
    raise RuntimeError("no such server")
    yield


@pytest.fixture
def panel():
    loops = {"right": federated_rounds, "no noise": without_noise}
    panel = PrivacyPanel(SETTINGS, METHODS["la-lora"], loops, 800, trials=200, mode="live")
    yield panel
    panel.wait.cancel()
    panel.keep.cancel()
    assert panel.runner.join(60)


def test_the_worst_off_client_spends_the_target_and_the_others_less(panel):
    assert list(panel.figure.data[0].y) == pytest.approx([panel.figure.data[0].y[0]] * 8)
    panel.controls["participation"].value = 0.5
    spent = panel.figure.data[0].y
    assert len(spent) == 8 and spent[0] == pytest.approx(3, rel=0.02) and spent[0] <= 3 and spent[-1] < spent[0]
    panel.controls["clients"].value = 2
    assert len(panel.figure.data[0].y) == 2 and "of 2 clients" in panel.figure.layout.title.text


def test_delta_above_one_sample_is_said(panel):
    assert "above 1/n" not in panel.text.value
    panel.controls["delta"].value = 1e-3
    panel.controls["clients"].value = 1
    assert "above 1/n" not in panel.text.value  # 800 samples: 1/n is 1.25e-3
    panel.people = 2000
    panel.update()
    assert "above 1/n" in panel.text.value


def test_both_loops_are_audited_and_the_wrong_one_is_contradicted(panel):
    panel.controls["epsilon"].value = 1.0  # 200 trials can show 2.2 at most
    panel.wait.cancel()
    panel.measure()
    assert panel.runner.join(60)
    panel.controls["loop"].value = "no noise"
    panel.wait.cancel()
    panel.measure()
    assert panel.runner.join(60)
    [right], [wrong] = panel.found["right"], panel.found["no noise"]
    assert right[1] <= right[0] < wrong[1]
    assert "contradicted by audit: no noise" in panel.figure.layout.title.text
    assert list(panel.figure.data[3].y) == [right[1]] and list(panel.figure.data[4].y) == [wrong[1]]


def test_without_noise_there_is_nothing_to_audit(panel):
    panel.controls["epsilon"].value = math.inf
    panel.wait.cancel()
    panel.measure()
    assert "nothing to audit" in panel.text.value and panel.found["right"] == []


def test_a_failing_audit_is_shown():
    panel = PrivacyPanel(SETTINGS, METHODS["la-lora"], {"broken": broken}, 800, trials=100, mode="live")
    panel.measure()
    assert panel.runner.join(60)
    assert "no such server" in panel.error.value
    panel.keep.cancel()


def test_headless_audits_nothing_and_shows_what_an_audit_can_show(capsys):
    """The lesson asks first whether the loops can be told apart."""
    panel = PrivacyPanel(SETTINGS, METHODS["la-lora"], {"broken": broken}, 800, trials=200, mode="headless")
    panel.show()
    assert "σ" in capsys.readouterr().out
    figure = panel.draw(panel.values)
    [zone] = figure.layout.shapes
    assert zone.y0 == pytest.approx(most_shown(panel.trials_at(panel.values), SETTINGS.delta, 0.99))
    assert f"no more than {zone.y0:.2f}" in figure.layout.annotations[0].text


def measured(panel, epsilon, loop):
    panel.controls["epsilon"].value = epsilon
    panel.controls["loop"].value = loop
    panel.wait.cancel()
    panel.measure()
    assert panel.runner.join(60)
    return panel.text.value


def test_a_claim_beyond_reach_is_said_to_be_and_the_loop_is_broken_where_it_can_be_told():
    """400 virtual clients show 2.9 at most: at ε = 8 neither loop may come out clear of it."""
    loops = {"right": federated_rounds, "no noise": without_noise}
    panel = PrivacyPanel(SETTINGS, METHODS["la-lora"], loops, 800, trials=200, most_trials=400, mode="live")
    for loop in loops:
        said = measured(panel, 8.0, loop)
        assert "This attack cannot tell at ε = 8: 400 virtual clients show at most 2.9" in said
        assert "The same loop at ε = 1.5, where it can tell" in said
    assert "CONTRADICTED" in said
    assert panel.found["no noise"][0][1] > 1.5 >= panel.found["right"][0][0]
    assert panel.figure.layout.shapes[0].y0 < 3
    panel.keep.cancel()


@pytest.mark.parametrize("epsilon", [3.0, 4.0])
def test_within_reach_more_virtual_clients_are_taken(panel, epsilon):
    values = {**panel.values, "epsilon": epsilon}
    assert panel.told_at(values) == epsilon and panel.foretold(values) == ""
    assert most_shown(panel.trials_at(values), values["delta"], 0.99) > epsilon


def test_the_lesson_s_broken_loop_is_contradicted_one_press_from_the_default(panel):
    """As a reader meets it: batches clipped, ε = 4."""
    panel.loops["no noise"] = wrong_rounds
    assert "CONTRADICTED" in measured(panel, 4.0, "no noise")


def test_a_move_says_what_it_did(panel):
    panel.controls["epsilon"].value = 1.0
    assert "σ rose from" in panel.text.value
    panel.controls["epsilon"].value = 3.0
    assert "σ fell from" in panel.text.value


def test_rank_moves_the_upload_s_noise_and_no_epsilon():
    loops = {"right": federated_rounds}
    panel = PrivacyPanel(SETTINGS, METHODS["la-lora"], loops, 800, numbers=lambda rank: 100.0 * rank, mode="live")
    before = list(panel.figure.data[0].y)
    panel.controls["rank"].value = 16
    assert "the noise in one upload, in C, rose from" in panel.text.value and "σ rose" not in panel.text.value
    assert list(panel.figure.data[0].y) == before
    for later in (panel.wait, panel.keep):
        later.cancel()


def test_a_dot_above_the_line_is_one_above_its_claim():
    """The line where bound and claim agree is straight only between axes of one kind."""
    figure = privacy_figure(PrivacyView(3.0, [3.0], {"right": [(2.0, 1.0)]}))
    assert figure.layout.xaxis2.type == figure.layout.yaxis2.type
    assert list(figure.data[2].x) == list(figure.data[2].y)


def test_a_figure_without_any_audit():
    view = PrivacyView(math.inf, [math.inf], {})
    assert [len(trace["x"]) for trace in privacy_data(view)] == [0, 0, 2, 0, 0]
    assert "nothing is promised" in privacy_title(view)
    assert "ε = 2.5" in privacy_title(replace(view, epsilon=3.0, spent=[1.0, 2.5]))


def test_the_headline_is_the_largest_and_a_claim_above_the_line_is_out_of_reach():
    figure = spent_figure([1.0, 2.5, 2.0], 3.0)
    assert list(figure.data[0].y) == [2.5, 2.0, 1.0] and "ε = 2.50" in figure.layout.title.text
    figure = reach_figure([(100, 1.5), (1000, 3.8)], (1000, 3.8), (3.0, 8.0), "beyond")
    assert list(figure.data[0].y) == [1.5, 3.8] and len(figure.layout.shapes) == 2
