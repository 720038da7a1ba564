"""The panel of lesson 05: formulas at once, an audit of the chosen loop after it, and no silent failure."""

import math
from dataclasses import replace

import pytest

from lalora_kit.federated import federated_rounds
from lalora_kit.figures.privacy import PrivacyView, privacy_data, privacy_figure, privacy_title
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


def test_headless_audits_each_loop_once(capsys):
    loops = {"right": federated_rounds, "no noise": without_noise}
    PrivacyPanel(SETTINGS, METHODS["la-lora"], loops, 800, trials=200, mode="headless").show()
    assert "σ" in capsys.readouterr().out


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
