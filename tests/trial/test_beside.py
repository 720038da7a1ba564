"""The baselines beside a comparison: which runs are made, which linear model is shown, and what is said of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from lalora_kit.methods import METHODS
from lalora_kit.runs.results import Scores
from lalora_kit.runs.yardsticks import Yardstick, standings
from lalora_kit.trial import beside as module
from lalora_kit.trial import claim_runs, grid
from lalora_kit.trial.beside import Baseline, Side, beside, choosing_runs, run_beside, standing
from lalora_kit.trial.claims import claims_on
from lalora_kit.trial.designs import DIGITS, design_of, run_of
from lalora_kit.trial.effects import effect_at
from lalora_kit.trial.rivals import bare_run
from lalora_kit.trial.study import lines, train
from tests.fakes import free_runs
from tests.tiny import swin_task

SEEDS, TUNING_SEEDS, HEAD_RATES = DIGITS.seeds, DIGITS.tuning_seeds, DIGITS.head_rates
EQUAL = DIGITS.usual.head_learning_rate
CLAIMS = claim_runs.comparison(["la-lora", "dp-lora", "head-only"], [3.0])


def made_up(level, seeds=(*SEEDS, *TUNING_SEEDS), heads=HEAD_RATES):
    """Runs of methods, head-only and linear models, each of accuracy `level(cell)` and a little that the seed adds."""
    cells = [
        replace(run_of(arm, rate, 3.0, seed, DIGITS), head_learning_rate=head)
        for arm in ("la-lora", "dp-lora", "head-only")
        for rate in DIGITS.rates
        for head in heads
        for seed in seeds
    ]
    cells += [
        bare_run(view, rate, 3.0, seed, DIGITS)
        for view in ("linear", "linear-hog")
        for rate in HEAD_RATES
        for seed in seeds
    ]
    return {cell: {"curve": [level(cell) + 0.002 * ((cell.seed * (3 + len(cell.method))) % 5)]} for cell in cells}


def test_the_stronger_linear_model_at_its_best_rate_is_shown_and_who_is_ahead_is_said():
    levels = {"la-lora": 0.5, "dp-lora": 0.6, "head-only": 0.3, "linear": 0.55, "linear-hog": 0.6}
    runs = made_up(lambda c: levels[c.method] - 0.2 * (c.method.startswith("linear") and c.head_learning_rate != 2.0))
    head, linear, guess = beside(runs, CLAIMS, DIGITS, ["linear", "linear-hog"], 0.7)
    assert (head.name, linear.name, guess.name) == ("head-only", "linear-hog", "untrained")
    assert linear.rate == 2.0 and linear.accuracy == pytest.approx(0.604, abs=0.003)
    assert list(linear.over) == ["la-lora", "dp-lora"], "head-only has no adapter"
    assert "is behind la-lora (50.0%) and dp-lora (60.0%): every adapter pays over it; 5 seeds" in head.text
    assert "ahead of la-lora (50.0%), and level with dp-lora (60.0%): no adapter is shown to pay over it" in linear.text
    assert "untrained at ε=3 (70.0%) is ahead of la-lora" in guess.text and math.isnan(guess.rate)
    assert linear.over["la-lora"].among == 6 and linear.over["la-lora"].mean < -9
    told = linear.to_json()
    assert told["verdict"] == "la-lora behind, dp-lora level" and "6 intervals" in told["claim"]
    assert guess.to_json()["head_rate"] is None


def test_every_side_has_the_best_head_s_rate_of_one_grid_from_other_seeds():
    """Head-only at 4 and la-lora at 0.25 are best on the seeds that choose; on the reported ones they are the worst."""
    top = {"la-lora": 0.25, "head-only": 4.0, "dp-lora": 1.0}

    def level(cell):
        best = cell.head_learning_rate == top[cell.method]
        return 0.5 + 0.1 * best * (1 if cell.seed in TUNING_SEEDS else -1)

    runs = {cell: line for cell, line in made_up(lambda c: 0.5).items() if cell.method in top}
    runs = {cell: {"curve": [level(cell) + 0.001 * cell.seed]} for cell in runs}
    [head] = beside(runs, CLAIMS, DIGITS, [], math.nan)
    assert head.rate == 4.0 and head.heads == {"la-lora": 0.25, "dp-lora": 1.0}
    assert head.accuracy == pytest.approx(0.402) and head.over["la-lora"].mean == pytest.approx(0)
    assert head.at_an_end == ["la-lora at ε=3"]
    assert head.to_json()["la-lora_head_rate"] == 0.25


def test_an_interval_that_covers_zero_is_level():
    assert standing(effect_at([1.0, 1.2, 1.1])) == 1 and standing(effect_at([-1.0, -1.2, -1.1])) == -1
    assert standing(effect_at([1.0, -1.0, 0.5])) == 0 and standing(effect_at([1.0])) == 0
    assert standing(effect_at([2.0, 2.0])) == 1 and standing(effect_at([0.0, 0.0])) == 0
    assert "is level with m" in Baseline("x", 3.0, 0.5, 1.0, {"m": effect_at([math.nan, math.nan])}).text


def test_missing_runs_are_made_once_and_the_table_kept(monkeypatch, tmp_path):
    made = {"made": "m", "settings": {}, "versions": {}, "task": {"task": "digits"}, "command": "x"}
    for place in (claim_runs, module):
        monkeypatch.setattr(place, "made_with", lambda command, task: made)
    monkeypatch.setattr(grid, "KEPT", tmp_path)
    ran = free_runs(monkeypatch, lambda cell: {"curve": [0.5 + 0.01 * cell.head_learning_rate + 0.001 * cell.seed]})
    runs = made_up(lambda c: 0.4, heads=[EQUAL])  # what the claims leave
    runs = {cell: line for cell, line in runs.items() if not cell.method.startswith("linear")}
    found = run_beside(tmp_path, runs, CLAIMS, DIGITS)
    assert [b.name for b in found] == ["head-only", "linear"] and found[1].rate == HEAD_RATES[-1]
    adapters, linear, more = 2, 2, len(HEAD_RATES) - 1  # one head's rate of head-only and of adapters is there
    tuning = (linear * (more + 1) + (1 + adapters) * more) * len(TUNING_SEEDS)
    assert len(ran) == tuning + (linear + 1 + adapters) * len(SEEDS) and choosing_runs(tmp_path, DIGITS) == tuning
    run_beside(tmp_path, runs, CLAIMS, DIGITS)
    assert len(ran) == tuning + (linear + 1 + adapters) * len(SEEDS), "nothing is left to do"
    kept = json.loads((tmp_path / "baselines.json").read_text())
    assert [row["key"] for row in kept["rows"]] == ["beside-head-only-3", "beside-linear-3"]


def test_a_linear_run_is_of_the_linear_task(monkeypatch):
    """By its name in a cell: the head alone, on pixels, at the head's rate."""
    from lalora_kit.tasks.heads import linear

    monkeypatch.setattr(linear, "load_task", lambda name: swin_task(400))
    line = train(Side("linear", 3.0, DIGITS, 0.5).run(1.0, 0), task="small")
    assert line["method"] == "linear" and line["head_learning_rate"] == 1.0 and len(line["curve"]) == 10
    assert 0.34 < line["curve"][-1] <= 1


def test_a_report_says_where_the_adapter_does_not_pay():
    some = Scores(400, 0.50, 0.50, (0.5, 0.5))
    rows = [
        Yardstick(name, "", Scores(400, accuracy, accuracy, ()), None, 3.0)
        for name, accuracy in (("head-only", 0.40), ("linear", 0.52), ("linear-hog", 0.70), ("pooled, no privacy", 0.9))
    ]
    rows += [Yardstick("untrained", "", None, None, 0.0, "no guess")]
    said = standings(METHODS["la-lora"], some, rows)
    assert [line.split(":")[0] for line in said] == [
        "linear (52.0%) is level with la-lora (50.0%)", "linear-hog (70.0%) is ahead of la-lora (50.0%)",
    ]  # fmt: skip
    assert "the adapter is not shown to pay over it" in said[0] and "the adapter does not pay over it" in said[1]
    head = standings(METHODS["head-only"], replace(some, accuracy=0.40), rows)
    assert len(head) == 2 and not any("adapter" in line or line.startswith("head-only") for line in head)


def test_the_baselines_beside_the_claims_on_mnist_are_what_results_say():
    home = Path(__file__).parents[2]
    kept = home / "tests/benchmarks/results/claims-mnist"
    runs = {**claim_runs.shipped("mnist"), **lines(kept / "baselines.jsonl")}
    table = beside(runs, claims_on("mnist"), design_of("mnist"), ["linear", "linear-hog"], 0.4975)
    written = json.loads((kept / "baselines.json").read_text(encoding="utf-8"))["rows"]
    assert [row.text for row in table] == [row["claim"] for row in written]
    told = (home / "notebooks/RESULTS.md").read_text(encoding="utf-8")
    assert all(row.text in told for row in table if row.name != "untrained")
    assert {row["verdict"].count("ahead") for row in written} == {4, 5, 7}, "each adapter is ahead of each baseline"
    assert not any(word in row["verdict"] for row in written for word in ("level", "behind"))
