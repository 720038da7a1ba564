"""Lesson 00's panel: a switch for what standardised features are worth, where a task has public inputs."""

from __future__ import annotations

import pytest

from lalora_kit import METHODS, Ledger, load_task, settings_for
from lalora_kit.panels.lesson.features import FeaturesPanel
from lalora_kit.panels.live import LiveTraining


def panel_on(name, mode="live"):
    settings = settings_for(name, rounds=1, local_steps=2, sample_rate=0.01, seed=0)
    training = LiveTraining(load_task(name), METHODS["head-only"], settings, ledger=Ledger())
    return FeaturesPanel(training, runs={}, mode=mode)


@pytest.fixture(scope="module")
def panel():
    panel = panel_on("mnist")
    yield panel
    panel.keep.cancel()


def trained(panel):
    panel.buttons["Run"].click()
    assert panel.training.join(60)
    [end] = panel.training.records
    return end


def test_the_switch_trains_on_features_as_they_are_and_says_so(panel):
    training = panel.training
    with_public = trained(panel)
    assert "as they are" not in training.name
    panel.controls["standardise"].value = False
    assert not training.task.standardise and not panel.view().shipped
    assert training.join(60)  # a move trains anew once a run has begun
    plain = trained(panel)
    assert training.name.endswith("features as they are") and plain.accuracy != with_public.accuracy
    assert not training.others(), "runs on other features are no other seeds of this one"
    panel.buttons["Reset"].click()
    assert panel.controls["standardise"].value and training.task.standardise


def test_without_public_inputs_there_is_no_switch():
    panel = panel_on("digits")
    assert "standardise" not in panel.controls
    panel.controls["epsilon"].value = 1.0
    assert panel.training.settings.epsilon == 1.0
    panel.keep.cancel()
