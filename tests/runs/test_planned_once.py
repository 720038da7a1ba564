"""A run is planned, probed and calibrated once, whatever it begins from; only what may have changed is asked again."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lalora_kit import METHODS, BudgetExceeded, Ledger, federated_rounds
from lalora_kit.privacy import identity
from lalora_kit.runs import checkpoint
from lalora_kit.runs.checkpoint import save_rounds
from tests.tiny import FAST, linear_task

METHOD = METHODS["la-lora"]
TWO = replace(FAST, epsilon=math.inf, rounds=2, seed=None)


@pytest.fixture
def probes(monkeypatch):
    """A list that grows with each probe of what a task computes."""
    made, whole = [], identity.probe
    monkeypatch.setattr(identity, "probe", lambda task: (made.append(task), whole(task))[1])
    return made


def test_once_without_a_directory(probes):
    assert len(list(federated_rounds(linear_task(), METHOD, TWO))) == 2 and len(probes) == 1


def test_once_in_a_fresh_directory_and_the_rounds_are_those_of_what_is_on_disk(probes, tmp_path):
    rounds = save_rounds(linear_task(), METHOD, TWO, tmp_path / "run")
    assert len(probes) == 1
    first = next(rounds)
    rounds.close()
    assert len(probes) == 1
    [second] = save_rounds(linear_task(), METHOD, TWO, tmp_path / "run", resume=True)
    assert len(probes) == 2, "a resume is a process of its own, and asks once"
    assert first.state.secret == second.state.secret and second.state.moves == ()


def test_once_in_a_directory_that_has_a_ledger(probes, tmp_path):
    list(save_rounds(linear_task(), METHOD, replace(TWO, rounds=1), tmp_path))
    probes.clear()
    list(save_rounds(linear_task(), METHOD, replace(TWO, clip_norm=2.0), tmp_path))
    assert len(probes) == 1


def test_what_another_run_released_meanwhile_is_counted(tmp_path, monkeypatch):
    """Between the look at an empty directory and its lock another process may have trained there, without noise."""
    task, whole = linear_task(), checkpoint.locked

    def overtaken(directory):
        list(federated_rounds(task, METHOD, TWO, ledger=Ledger(directory / "ledger.jsonl")))
        return whole(directory)

    monkeypatch.setattr(checkpoint, "locked", overtaken)
    with pytest.raises(BudgetExceeded, match="one had no noise"):
        save_rounds(task, METHOD, replace(TWO, epsilon=8.0), tmp_path / "run")


def test_what_cannot_begin_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="rank"):
        save_rounds(linear_task(), METHOD, replace(TWO, rank=4000), tmp_path / "run")
    assert not (tmp_path / "run").exists()
