"""The shipped grid: what it holds, how a run of it is named, and that the command goes on where it stopped."""

import json
import math
import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from lalora_kit import federated
from lalora_kit.methods import METHODS
from lalora_kit.runs.usual import settings_for
from lalora_kit.trial import grid, rivals
from lalora_kit.trial import study as trials
from lalora_kit.trial.designs import DESIGNS, DIGITS, design_of
from lalora_kit.trial.study import Cell
from tests.fakes import free_runs

MADE = {"made": "m", "command": "c", "task": {"task": "digits", "data": "d"}, "settings": {"rounds": 10}}
SHIPPED = sorted({"digits", *(path.stem for path in grid.KEPT.glob("*.jsonl"))})
FIRST = Cell("la-lora", 0.5, 3.0, 4, 8, 0)


@pytest.fixture
def inline(monkeypatch):
    """`ensure` in this process, with runs that cost nothing; yields the cells that were run."""
    return free_runs(monkeypatch, lambda cell: {"curve": [0.1, cell.rank / 100]})


def test_every_run_is_wanted_once_and_first_seeds_come_first():
    wanted = grid.cells(grid.AXES, grid.SERIES, grid.SEEDS)
    assert len(wanted) == len(set(wanted))
    assert [c.seed for c in wanted] == sorted(c.seed for c in wanted)
    assert {c.method for c in wanted} == {method for method, _ in grid.SERIES.values()} >= set(METHODS)


def test_the_defaults_lie_on_every_axis():
    for design in DESIGNS:
        for axis, values in design.axes.items():
            assert getattr(design.usual, axis) in values, (design.task, axis)


def test_a_series_names_the_run_behind_a_point():
    assert grid.cell("la-lora", "epsilon", 1.0, 3, DIGITS) == Cell("la-lora", 0.5, 1.0, 4, 8, 3)
    assert grid.cell("dp-lora × 0.5", "learning_rate", 4.0, 0) == grid.cell("dp-lora", "learning_rate", 2.0, 0)
    assert grid.cell(f"la-lora-nofilter × {grid.PASSED}", "rank", 16, 0, DIGITS).learning_rate == pytest.approx(0.2615)
    heads = {grid.cell("head-only", "learning_rate", x, 0) for x in grid.AXES["learning_rate"]}
    assert len(heads) == 1, "it trains no factor, so that the adapter's rate means nothing to it"


def test_settings_of_a_cell_are_the_defaults_but_for_what_it_varies():
    assert Cell("rolora", 2.0, 1.0, 16, 2, 4).settings("digits") == replace(
        DIGITS.usual, learning_rate=2.0, epsilon=1.0, rank=16, clients=2, seed=4
    )


def test_the_head_s_rate_is_written_where_it_is_not_the_default(inline, tmp_path):
    path, other = tmp_path / "grid.jsonl", replace(FIRST, head_learning_rate=2.0)
    trials.ensure([FIRST, other], MADE, path, 1)
    assert inline == [FIRST, other]
    assert other.settings("digits") == replace(FIRST.settings("digits"), head_learning_rate=2.0)
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get(trials.HEAD_RATE) for line in written if "curve" in line] == [None, 2.0]
    assert trials.curves(path).keys() == {FIRST, other}


def test_it_goes_on_where_it_stopped_even_after_a_torn_line(inline, tmp_path):
    path, more = tmp_path / "grid.jsonl", replace(FIRST, epsilon=math.inf, seed=1)
    trials.ensure([FIRST], MADE, path, 1)
    with path.open("a") as file:
        file.write('{"method": "la-lo')
    trials.ensure([FIRST, more], MADE, path, 1)
    assert inline == [FIRST, more]
    assert trials.curves(path) == {FIRST: [0.1, 0.04], more: [0.1, 0.04]}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["made"] for line in lines] == ["m", "m", "m"] and lines[0] == MADE


@pytest.mark.parametrize("name", ["task", "settings"])
def test_runs_that_do_not_compare_are_refused(inline, tmp_path, name):
    path = tmp_path / "grid.jsonl"
    trials.ensure([FIRST], MADE, path, 1)
    with pytest.raises(ValueError, match=f"was made with another {name}.*delete it"):
        trials.ensure([FIRST], {**MADE, name: {"other": 1}}, path, 1)


def test_a_method_of_ones_own_is_found_by_its_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from lalora_kit.methods import Method\n"
        "from lalora_kit.methods.method import B\n"
        "MINE = Method('mine', 'unpublished', lambda round, step: B)\n"
    )
    assert trials.find(f"{file}:MINE").name == "mine"
    with pytest.raises(ValueError, match="holds no Method named 'YOURS'; it holds MINE"):
        trials.find(f"{file}:YOURS")
    with pytest.raises(ValueError, match="there is no file"):
        trials.find("nowhere.py:MINE")
    with pytest.raises(ValueError, match="la-lora"):
        trials.find("la-lara")


def test_one_run_and_what_it_was_made_with(monkeypatch):
    monkeypatch.setattr(trials, "settings_for", partial(settings_for, rounds=1, local_steps=2))
    result = trials.train(replace(FIRST, rank=1), "digits", probe=True)
    assert len(result["curve"]) == 1 and result["rank"] == 1 and result["noise_multiplier"] > 0
    assert -1 <= result["coupling"] <= 1 and result["lambda_weights"] > 0 and result["moved"] > 0
    made = trials.made_with("c", "digits")
    assert made["settings"]["rounds"] == 1 and not {"rank", "seed"} & set(made["settings"])
    assert made["untrained"] is None, "no public guess at the digits"
    assert made["task"]["task"] == "digits" and made["versions"]["torch"] and len(made["made"]) == 16


@pytest.mark.parametrize("task", SHIPPED)
def test_a_shipped_grid_can_be_read(task):
    runs, design = grid.load(grid.file_of(task)), design_of(task)
    assert runs and all(0 <= accuracy <= 1 for curve in runs.values() for accuracy in curve)
    known = set(grid.cells(design.axes, grid.SERIES, design.drawn, design))
    assert set(runs) <= known | rivals.known(design=design)


def test_without_noise_every_adapter_reaches_what_results_say():
    runs, design = grid.load(grid.file_of("mnist")), design_of("mnist")
    usual = {"epsilon": math.inf, "rank": design.usual.rank, "clients": design.usual.clients}
    ended = {
        name: statistics.fmean(
            runs[design.run(name, design.usual.learning_rate, seed=seed, **usual)][-1] for seed in design.drawn
        )
        for name in ("dp-lora", "rolora", "ffa-lora", "la-lora")
    }
    assert min(ended.values()) >= 0.85
    told = (Path(__file__).parents[2] / "notebooks/RESULTS.md").read_text(encoding="utf-8")
    dp, ro, ffa, la = (f"{100 * accuracy:.2f}" for accuracy in ended.values())
    assert f"DP-LoRA names {dp} % correctly, RoLoRA {ro}, FFA-LoRA {ffa} and LA-LoRA {la}" in told


def test_where_runs_were_computed_is_no_reason_to_refuse_them(inline, tmp_path):
    path, kept = tmp_path / "grid.jsonl", {**MADE, "settings": {"rounds": 10, "max_samples": None}}
    trials.ensure([FIRST], kept, path, 1)
    trials.ensure([FIRST], {**MADE, "settings": {"rounds": 10, "threads": None, "evaluate_every": 1}}, path, 1)
    assert inline == [FIRST]


def test_there_is_a_worker_of_one_thread_for_each_core_that_is_granted(inline, monkeypatch, tmp_path):
    asked, pool = [], trials.ProcessPoolExecutor
    monkeypatch.setattr(trials, "usable_cores", lambda: 3)
    monkeypatch.setattr(trials, "ProcessPoolExecutor", lambda n, mp_context: asked.append(n) or pool(n, mp_context))
    trials.ensure([FIRST], MADE, tmp_path / "by default.jsonl")
    trials.ensure([FIRST], MADE, tmp_path / "as asked.jsonl", 5)
    assert asked == [3, 5]
    seen, before = [], torch.get_num_threads()
    monkeypatch.setenv("LALORA_THREADS", "2")
    monkeypatch.setattr(federated, "federated_rounds", lambda task, method, s: seen.append(s.threads) or iter(()))
    try:
        with pytest.raises(IndexError):  # there was no round
            trials.train(FIRST, "digits")
    finally:
        torch.set_num_threads(before)
    assert seen == [1]
