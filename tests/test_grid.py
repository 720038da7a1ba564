"""The shipped grid: what it holds, how a run of it is named, and that the command goes on where it stopped."""

import json
import math
from dataclasses import replace

import pytest

from lalora_kit import grid
from lalora_kit.grid import Cell
from lalora_kit.methods import METHODS

MADE = {"made": "m", "command": "c", "task": {"data": "d"}, "settings": {"rounds": 10}}
FIRST = Cell("la-lora", 0.5, 3.0, 4, 8, 0)


@pytest.fixture
def inline(monkeypatch):
    """`ensure` in this process, with runs that cost nothing; yields the cells that were run."""
    ran = []

    class Pool:
        def __init__(self, workers, mp_context): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def submit(self, work, cell):
            ran.append(cell)
            return type("Job", (), {"result": lambda self: {**cell.to_json(), "curve": [0.1, cell.rank / 100]}})()

    monkeypatch.setattr(grid, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(grid, "as_completed", list)
    return ran


def test_every_run_is_wanted_once_and_first_seeds_come_first():
    wanted = grid.cells(grid.AXES, grid.SERIES, grid.SEEDS)
    assert len(wanted) == len(set(wanted))
    assert [c.seed for c in wanted] == sorted(c.seed for c in wanted)
    assert {c.method for c in wanted} == {method for method, _ in grid.SERIES.values()} >= set(METHODS)


def test_the_defaults_lie_on_every_axis():
    for axis, values in grid.AXES.items():
        if axis != "rank":  # 1, 4, 16 hold it too, as a whole number
            assert getattr(grid.DEFAULTS, axis) in values
    assert grid.DEFAULTS.rank in grid.AXES["rank"]


def test_a_series_names_the_run_behind_a_point():
    assert grid.cell("la-lora", "epsilon", 1.0, 3) == Cell("la-lora", 0.5, 1.0, 4, 8, 3)
    assert grid.cell("dp-lora × 0.5", "learning_rate", 4.0, 0) == grid.cell("dp-lora", "learning_rate", 2.0, 0)
    assert grid.cell(f"la-lora-nofilter × {grid.PASSED}", "rank", 16, 0).learning_rate == pytest.approx(0.2615)
    heads = {grid.cell("head-only", "learning_rate", x, 0) for x in grid.AXES["learning_rate"]}
    assert len(heads) == 1, "it trains no factor, so that the adapter's rate means nothing to it"


def test_settings_of_a_cell_are_the_defaults_but_for_what_it_varies():
    assert Cell("rolora", 2.0, 1.0, 16, 2, 4).settings == replace(
        grid.DEFAULTS, learning_rate=2.0, epsilon=1.0, rank=16, clients=2, seed=4
    )


def test_it_goes_on_where_it_stopped_even_after_a_torn_line(inline, tmp_path):
    path, more = tmp_path / "grid.jsonl", replace(FIRST, epsilon=math.inf, seed=1)
    grid.ensure([FIRST], MADE, path, 1)
    with path.open("a") as file:
        file.write('{"method": "la-lo')
    grid.ensure([FIRST, more], MADE, path, 1)
    assert inline == [FIRST, more]
    assert grid.load(path) == {FIRST: [0.1, 0.04], more: [0.1, 0.04]}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["made"] for line in lines] == ["m", "m", "m"] and lines[0] == MADE


@pytest.mark.parametrize("name", ["task", "settings"])
def test_runs_that_do_not_compare_are_refused(inline, tmp_path, name):
    path = tmp_path / "grid.jsonl"
    grid.ensure([FIRST], MADE, path, 1)
    with pytest.raises(ValueError, match=f"was made with another {name}.*delete it"):
        grid.ensure([FIRST], {**MADE, name: {"other": 1}}, path, 1)


def test_one_run_and_what_it_was_made_with(monkeypatch):
    monkeypatch.setattr(grid, "DEFAULTS", replace(grid.DEFAULTS, rounds=1, local_steps=2))
    monkeypatch.setattr(Cell, "settings", property(lambda c: replace(grid.DEFAULTS, seed=c.seed, rank=c.rank)))
    result = grid.train(replace(FIRST, rank=1))
    assert len(result["curve"]) == 1 and result["rank"] == 1 and result["noise_multiplier"] > 0
    made = grid.made_with()
    assert made["settings"]["rounds"] == 1 and not {"rank", "seed"} & set(made["settings"])
    assert made["task"]["task"] == "digits" and made["versions"]["torch"] and len(made["made"]) == 16


@pytest.mark.skipif(not grid.FILE.exists(), reason="the grid has not been made yet")
def test_the_shipped_grid_can_be_read():
    runs = grid.load()
    assert runs and all(0 <= accuracy <= 1 for curve in runs.values() for accuracy in curve)
    known = set(grid.cells(grid.AXES, grid.SERIES, grid.SEEDS))
    assert set(runs) <= known
