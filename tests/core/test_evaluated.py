"""Rounds that are not evaluated: what the others say, what is learnt and what it costs stay as they are."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from lalora_kit.engine.persample import Engine
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.privacy import Ledger
from lalora_kit.records import Round
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.runs.statefile import is_record
from tests.tiny import FAST, identical, linear_task

TASK, LA = linear_task(), METHODS["la-lora"]
ALWAYS = replace(FAST, rounds=5)


@pytest.fixture(scope="module")
def always() -> list[Round]:
    return list(federated_rounds(TASK, LA, ALWAYS))


def shown(r: Round) -> dict:
    return {**r.to_json(), "seconds": None}


@pytest.mark.parametrize(("every", "tested"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (5, [5]), (9, [5])])
def test_every_nth_round_is_evaluated_and_the_last_and_nothing_else_changes(monkeypatch, always, every, tested):
    calls, evaluate = [], Engine.evaluate
    monkeypatch.setattr(Engine, "evaluate", lambda *given: calls.append(1) or evaluate(*given))
    records = list(federated_rounds(TASK, LA, replace(ALWAYS, evaluate_every=every)))
    assert [r.round for r in records if r.evaluated] == tested and len(calls) == len(tested)
    for r, full in zip(records, always, strict=True):
        left_out = {} if r.evaluated else {"accuracy": None, "loss": None}
        assert shown(r) == {**shown(full), **left_out} and identical(r.adapter, full.adapter)
        assert r.state.identity == full.state.identity and r.state.machine == full.state.machine
        assert is_record(json.loads(json.dumps(r.to_json(), allow_nan=False)))


def test_who_stops_early_at_such_a_round_has_the_model_and_can_test_it(always):
    walk = federated_rounds(TASK, LA, replace(ALWAYS, evaluate_every=4))
    r = [next(walk) for _ in range(3)][-1]
    walk.close()
    assert not r.evaluated and math.isnan(r.accuracy) and math.isnan(r.loss)
    assert Engine(TASK, ALWAYS.scale).evaluate(r.adapter, TASK.test) == (always[2].accuracy, always[2].loss)


@pytest.mark.parametrize("seed", [0, None])
def test_a_resume_may_evaluate_at_other_rounds_and_is_neither_refused_nor_charged(tmp_path, seed):
    settings = replace(ALWAYS, evaluate_every=4, seed=seed)
    walk = save_rounds(TASK, LA, settings, tmp_path)
    next(walk), next(walk)
    walk.close()
    rest = list(save_rounds(TASK, LA, replace(settings, evaluate_every=1), tmp_path, resume=True))
    assert [r.round for r in rest if r.evaluated] == [3, 4, 5] and not rest[-1].state.moves
    kept = [json.loads(line) for line in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    assert [line["accuracy"] is None for line in kept] == [True, True, False, False, False]
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == 5 * 4 * 2


def test_a_replay_at_other_rounds_is_the_same_release():
    ledger = Ledger()
    first = next(federated_rounds(TASK, LA, replace(ALWAYS, evaluate_every=9), ledger=ledger))
    held = len(ledger)
    again = next(federated_rounds(TASK, LA, ALWAYS, ledger=ledger))
    assert len(ledger) == held and identical(first.adapter, again.adapter) and again.evaluated
