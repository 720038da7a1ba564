"""The panel of lesson 09: what a slider says at once, and a run over sites beside its simulator."""

from dataclasses import replace

import pytest

from lalora_kit.figures.sites.across import across_title
from lalora_kit.methods import METHODS
from lalora_kit.panels.sites.across import AcrossPanel, AcrossTraining
from lalora_kit.privacy import Ledger
from tests.tiny import FAST, swin_task

TASK = swin_task(samples=90)
SETTINGS = replace(FAST, seed=None, clients=2, rounds=2, rank=2, sample_rate=None, batch_size=15.0)


@pytest.fixture
def panel():
    panel = AcrossPanel(AcrossTraining(TASK, METHODS["la-lora"], SETTINGS, ledger=Ledger()), mode="live")
    yield panel
    panel.training.stop()
    panel.training.join(30)
    panel.keep.cancel()


def test_the_rank_moves_the_upload_at_once_and_epsilon_and_sites_its_noise_alone(panel):
    assert {name: control.value for name, control in panel.controls.items()} == panel.start
    up, [said] = panel.figure.data[3].x, panel.figure.data[3].text
    panel.controls["epsilon"].value = 1.0
    assert panel.figure.data[3].text != (said,)
    assert "ε went from 3 to 1: an upload is as large as it was, its σ " in panel.text.value
    stays = panel.figure.data[5].x
    panel.controls["clients"].value = 3
    assert panel.figure.data[3].x == up and not panel.figure.data[0].x and panel.figure.data[5].x < stays
    assert "The number of sites went from 2 to 3" in panel.text.value
    panel.controls["rank"].value = 4
    assert panel.figure.data[3].x > up
    assert "The rank went from 2 to 4: an upload is 1." in panel.text.value
    assert panel.text.value.count("went") == 1 and "its σ as large as it was" in panel.text.value
    assert set(panel.buttons) == {"Run", "Stop", "Reset"}
    assert all(value < float("inf") for _, value in panel.controls["epsilon"].options)


def test_a_run_is_both_and_lies_on_itself(panel):
    panel.buttons["Run"].click()
    assert panel.training.join(60) and panel.training.error is None
    assert panel.figure.data[0].x == panel.figure.data[1].x == (1, 2)
    assert panel.figure.data[0].y == panel.figure.data[1].y
    assert "to the last bit" in panel.figure.layout.title.text
    assert 0 < panel.training.records[-1].epsilon <= SETTINGS.epsilon
    assert panel.training.total == pytest.approx(panel.training.records[-1].epsilon)
    panel.buttons["Reset"].click()
    assert not panel.figure.data[0].x


def test_headless_it_trains_once_and_leaves_one_figure(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("lalora_kit.panels.panel.show_figure", shown.append)
    panel = AcrossPanel(AcrossTraining(TASK, METHODS["la-lora"], SETTINGS, ledger=Ledger()), mode="headless")
    panel.show()
    assert len(shown) == 1 and "largest difference of the two models: 0" in capsys.readouterr().out


def test_a_seed_is_refused():
    with pytest.raises(ValueError, match="seed=3 cannot be part of terms"):
        AcrossTraining(TASK, METHODS["la-lora"], replace(SETTINGS, seed=3), ledger=Ledger())


@pytest.mark.parametrize(
    ("apart", "said"), [(1e-8, ", which is rounding"), (1e-3, "more than rounding"), (0.0, "last bit")]
)
def test_a_title_calls_rounding_only_what_is(panel, apart, said):
    view = replace(panel.view(), apart=apart, sites=[None], rounds=1)
    assert said in across_title(view)
