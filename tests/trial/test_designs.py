"""Designs: what each task's trial is made of, and the claims where the head's rate is chosen first."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lalora_kit.trial import claim_runs, grid
from lalora_kit.trial.claims import CLAIMS, claims_on
from lalora_kit.trial.designs import DESIGNS, DIGITS, MNIST, design_of, head_rate, run_of, tuned
from lalora_kit.trial.effects import effect_at
from lalora_kit.trial.study import Cell, lines
from lalora_kit.trial.verdicts import STILL, judge
from tests.fakes import free_runs

BEST = {"la-lora": 8.0, "dp-lora": 4.0, "head-only": 2.0}
TASK = {"task": {"task": "mnist"}, "settings": {}, "versions": {}}


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.task)
def test_seeds_that_choose_are_never_told_and_grids_are_in_order(design):
    assert not {*design.tuning_seeds} & {*design.seeds, *design.more}
    assert not {*design.seeds} & {*design.more}
    assert not {*design.tuning_seeds} & {*design.drawn}
    for rates in (design.rates, design.head_rates, *design.axes.values()):
        assert list(rates) == sorted(set(rates))


def test_a_run_stands_at_the_usual_settings_but_for_what_is_moved():
    usual = MNIST.usual
    plain = MNIST.run("rolora", 4.0, 1.0, 3)
    assert plain == Cell("rolora", 4.0, 1.0, usual.rank, usual.clients, 3, usual.head_learning_rate)
    assert MNIST.run("rolora", 4.0, 1.0, 3, dirichlet_beta=0.1).settings("mnist").dirichlet_beta == 0.1
    assert design_of("mnist-upright").usual.clients == usual.clients != DIGITS.usual.clients


def test_a_skew_is_written_where_there_is_one_and_read_again(monkeypatch, tmp_path):
    from lalora_kit.trial import study

    free_runs(monkeypatch, lambda cell: {"curve": [0.5 if cell.dirichlet_beta is None else 0.4]})
    plain, skewed = MNIST.run("rolora", 4.0, 1.0, 3), MNIST.run("rolora", 4.0, 1.0, 3, dirichlet_beta=0.1)
    assert "dirichlet_beta" not in plain.to_json() and skewed.to_json()["dirichlet_beta"] == 0.1
    study.ensure([plain, skewed], {"made": "m", **TASK}, tmp_path / "runs.jsonl", 1)
    assert study.curves(tmp_path / "runs.jsonl") == {plain: [0.5], skewed: [0.4]}


def test_mnist_is_asked_away_from_the_usual_settings_too():
    asked = claims_on("mnist")
    assert claims_on("digits") == CLAIMS == asked[: len(CLAIMS)] and len({claim.key for claim in asked}) == len(asked)
    moved = {claim.at for claim in asked if claim.at}
    assert moved == {(("rank", 16),), (("clients", 16),), (("dirichlet_beta", 0.1),)}
    assert {claim.epsilon for claim in asked if claim.at} == {1, 3}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The claims on `mnist` from no run to a verdict, with runs that cost nothing: best where `BEST` says."""
    folder = tmp_path_factory.mktemp("claims")

    def level(cell):
        rate = cell.head_learning_rate if cell.method == "head-only" else cell.learning_rate
        own = 0.05 * (rate == BEST.get(cell.method, 4.0)) + 0.1 * (cell.method == "la-lora") * (cell.rank == 16)
        return {"curve": [0.5 + own + 0.001 * ((cell.seed * (3 + len(cell.method))) % 5)]}

    claims = [claim for claim in claims_on("mnist") if not claim.unit.probe]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim_runs, "made_with", lambda command, task: {"made": "m", "command": command, **TASK})
        patch.setattr(grid, "KEPT", folder)
        ran = free_runs(patch, level)
        rows = claim_runs.run_claims(folder, MNIST, claims=claims)
    return rows, ran, lines(folder / "claims.jsonl")


def test_the_head_s_rate_is_chosen_first_and_stands_for_all_sides_at_best(kept):
    rows, ran, runs = kept
    assert head_rate(runs, 3.0, MNIST, {}) == BEST["head-only"]
    first = next(row for row in rows if row.claim.key == "over-dp-lora-3")
    assert first.rates == (BEST["la-lora"], BEST["dp-lora"])
    tuning = {cell for cell in ran if cell.seed in MNIST.tuning_seeds and cell.method == "la-lora"}
    assert {cell.head_learning_rate for cell in tuning} == {BEST["head-only"]}, "chosen before the adapter's"
    assert {cell.learning_rate for cell in tuning} == set(MNIST.rates)
    assert len(ran) == len(set(ran))


def test_a_moved_claim_is_of_runs_at_its_own_settings(kept):
    rows, _, runs = kept
    by_key = {row.claim.key: row for row in rows}
    assert by_key["over-dp-lora-3-rank"].best.mean > 9 and abs(by_key["over-dp-lora-3-skew"].best.mean) < 1
    skewed = [cell for cell in runs if cell.dirichlet_beta == 0.1]
    assert {cell.clients for cell in skewed} == {MNIST.usual.clients}
    assert {cell.method for cell in skewed} == {"la-lora", "dp-lora", "ffa-lora", "rolora", "head-only"}
    [alone] = judge(runs, [by_key["over-dp-lora-3-clients"].claim], MNIST)
    assert alone.verdict == STILL and alone.best.seeds == len(MNIST.seeds) + len(MNIST.more)


def test_a_head_s_rate_that_was_not_chosen_leaves_no_verdict(kept):
    rows, _, runs = kept
    claim = rows[0].claim
    hole = run_of("head-only", MNIST.usual.learning_rate, claim.epsilon, 10, MNIST, head_learning_rate=1.0)
    fewer = {cell: line for cell, line in runs.items() if cell != hole}
    [row] = judge(fewer, [claim], MNIST)
    assert row.verdict == "too few seeds to say" and row.best.seeds == 0
    assert math.isnan(tuned(runs, "la-lora", claim.epsilon, replace(MNIST, tuning_seeds=(99,)), {}))


def looked_at_twice(folder, monkeypatch, apart):
    """The claims of two rivals from no run: one is `apart` from LA-LoRA, of the other few seeds cannot tell."""

    def level(cell):
        scatter = 0.02 * math.sin(7.0 * cell.seed * ord(cell.method[0]))
        return {"curve": [0.5 + scatter - apart * (cell.method == "ffa-lora")]}

    claims = [claim for claim in CLAIMS if claim.key in ("over-dp-lora-2", "over-ffa-lora-2")]
    monkeypatch.setattr(claim_runs, "made_with", lambda command, task: {"made": "m", "command": command, **TASK})
    monkeypatch.setattr(grid, "KEPT", folder)
    ran = free_runs(monkeypatch, level)
    return claims, claim_runs.run_claims(folder, MNIST, claims=claims), ran, lines(folder / "claims.jsonl")


def test_only_what_the_first_seeds_leave_undecided_is_looked_at_again(monkeypatch, tmp_path):
    claims, (dp, ffa), ran, runs = looked_at_twice(tmp_path, monkeypatch, apart=0.3)
    assert ffa.verdict == "holds" and ffa.best.seeds == 10, "decided at the first look, and not looked at again"
    assert dp.best.seeds == dp.equal.seeds == dp.control.seeds == 20
    assert {cell.method for cell in ran if cell.seed in MNIST.more} == {"la-lora", "dp-lora", "head-only"}
    assert {row.best.among for row in (dp, ffa)} == {2 * 2 * 3}, "two rows of three intervals, each looked at twice"
    once = judge(runs, claims, replace(MNIST, more=()))
    assert once[0].undecided and once[0].best.margin > dp.best.margin
    assert once[1].best.margin < ffa.best.margin, "the second look is paid for by all intervals"


def test_a_second_look_waits_for_all_its_seeds(monkeypatch, tmp_path):
    claims, (dp, _), _, runs = looked_at_twice(tmp_path, monkeypatch, apart=0.3)
    hole = next(cell for cell in runs if cell.seed == 22 and cell.method == "dp-lora")
    fewer = {cell: line for cell, line in runs.items() if cell != hole}
    [again, _] = judge(fewer, claims, MNIST)
    assert dp.best.seeds == 20 and again.best.seeds == 10 and again.best.among == dp.best.among


def test_two_looks_miss_no_more_often_than_they_say():
    """Of 600 studies of six true zeros 30 may show an effect at either look; 49 or more has a chance of .0006."""
    rng, shown = np.random.default_rng(3), 0
    for _ in range(600):
        values = rng.standard_normal((6, 20)).tolist()
        looks = [effect_at(row[:count], 12) for row in values for count in (10, 20)]
        shown += any(effect.low > 0 or effect.high < 0 for effect in looks)
    assert 5 < shown < 49
