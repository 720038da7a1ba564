"""What tests of live panels share: the small task, and a training loop whose rounds wait for the test."""

import pytest

from lalora_kit import load_task
from lalora_kit.panels import live
from tests.fakes import GatedRounds


@pytest.fixture(scope="module")
def task():
    return load_task("digits")


@pytest.fixture
def loop(monkeypatch):
    """Rounds that wait for the test; see `GatedRounds`."""
    loop = GatedRounds()
    monkeypatch.setattr(live, "federated_rounds", loop)
    return loop
